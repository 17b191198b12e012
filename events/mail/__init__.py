"""What e-mail tools report of their messages: delivered, opened, clicked, bounced, unsubscribed.

hook        takes a report at the secret address of a source, and puts it into the inbox as it is
providers   checks and reads the reports of each service, by django-anymail
amazon      checks who signed a report of SES, and tells Amazon that we want them
reports     makes events of the customer of them
recipients  finds out whose address it is; keeps the events of addresses that nobody has yet
waiting     what is kept so: looked at, given up after a time, sent on once somebody has the address
refusals    addresses that bounced or complained are written to no more
"""

from typing import Final

REPORT: Final = "email"  # the call of a request in the inbox that holds a report as it came
EVENTS: Final = "mail"  # of one that holds events made of a report
