"""Lists of lower floors that can be written to a file from where they are shown."""

from django.contrib import admin
from django.http import HttpRequest

from activation.delivery_admin import DeliveryAdmin
from activation.models import Delivery
from cdp.exports import pages
from customers.adminkit import Button
from events.event_name_admin import EventNameAdmin
from events.models import EventName

for model in (Delivery, EventName):
    admin.site.unregister(model)


@admin.register(Delivery)
class DeliveryPages(DeliveryAdmin):
    """The log of messages, with the button that exports it as it is filtered."""

    def header_buttons(self, request: HttpRequest) -> list[Button]:
        return [*pages.button(request, "deliveries"), *super().header_buttons(request)]


@admin.register(EventName)
class EventNamePages(EventNameAdmin):
    """The kinds of events, with the button that exports events."""

    def header_buttons(self, request: HttpRequest) -> list[Button]:
        events = pages.button(request, "events", is_filtered=False)
        return [*events, *super().header_buttons(request)]
