"""Webhooks for common e-mail tools, to begin with: their shapes are from public documentation.

None was tried against the real service: send a test before you switch a trigger on.
"""

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """What the form of a destination begins with; `to_fill` says what only the user knows."""

    key: str
    name: str
    config: dict[str, Any]
    to_fill: str
    documentation: str


_EVENT = "{{ trigger | json }}"
_EMAIL = "{{ customer.email | json }}"
_OWN_ID = "{{ customer.customer_id | json }}"

PRESETS = (
    # 500 members a request: the page says so. An API key is the password of HTTP Basic, says
    # https://mailchimp.com/developer/guides/marketing-api-conventions/. Members that are refused
    # stand in an answer of 200. Those who unsubscribed there cannot be subscribed in this way.
    Preset(
        "mailchimp",
        "Mailchimp: add to an audience",
        {
            "url": "https://us1.api.mailchimp.com/3.0/lists/LIST_ID",
            "headers": {"Authorization": "Basic BASE64_OF_KEY"},
            "template": """{"update_existing": true, "members": [{% for message in messages %}
  {"email_address": {{ message.customer.email | json }}, "status": "subscribed",
   "merge_fields": {"FNAME": {{ message.customer.fields.firstName | default: "" | json }}},
   "tags": [{{ message.trigger | json }}]}{% unless forloop.last %},{% endunless %}
{% endfor %}]}""",
            "batch": 500,
        },
        "Replace us1 by the data centre at the end of your API key, LIST_ID, and BASE64_OF_KEY by "
        "what the command `printf any:API_KEY | base64` says. Mailchimp answers 200 even when it "
        "refuses members: the log shows which.",
        "https://mailchimp.com/developer/marketing/api/lists/batch-subscribe-or-unsubscribe/",
    ),
    # Letters, digits, - and _ in names of events: keys of triggers are such.
    Preset(
        "brevo",
        "Brevo: track an event",
        {
            "url": "https://api.brevo.com/v3/events",
            "headers": {"api-key": "YOUR_API_KEY"},
            "template": f"""{{"event_name": {_EVENT}, "event_date": {{{{ timestamp | json }}}},
 "identifiers": {{
  {{% if customer.email %}}"email_id": {_EMAIL}{{% else %}}"ext_id": {_OWN_ID}{{% endif %}}}},
 "event_properties": {{"segment": {{{{ segment.name | json }}}}}}}}""",
        },
        "Replace YOUR_API_KEY. Build an automation that starts with this event.",
        "https://developers.brevo.com/reference/create-event",
    ),
    # A revision is served for about two years. At least one of id, email and phone_number.
    Preset(
        "klaviyo",
        "Klaviyo: create an event",
        {
            "url": "https://a.klaviyo.com/api/events",
            "headers": {
                "Authorization": "Klaviyo-API-Key YOUR_API_KEY",
                "revision": "2026-01-15",
                "Content-Type": "application/vnd.api+json",
            },
            "template": f"""{{"data": {{"type": "event", "attributes": {{
  "unique_id": {{{{ id | json }}}}, "time": {{{{ timestamp | json }}}},
  "properties": {{"segment": {{{{ segment.name | json }}}}}},
  "metric": {{"data": {{"type": "metric", "attributes": {{"name": {_EVENT}}}}}}},
  "profile": {{"data": {{"type": "profile", "attributes": {{
    {{% if customer.customer_id %}}"external_id": {_OWN_ID},{{% endif %}}
    "email": {_EMAIL}}}}}}}}}}}}}""",
        },
        "Replace YOUR_API_KEY (a private one that may write events). Build a flow that starts with "
        "this metric.",
        "https://developers.klaviyo.com/en/reference/create_event",
    ),
    # Events are told apart by a ULID (the schema `person_event` of its OpenAPI description); dates
    # are in seconds since 1970.
    Preset(
        "customer-io",
        "Customer.io: track an event",
        {
            "url": "https://track.customer.io/api/v2/entity",
            "headers": {"Authorization": "Basic BASE64_OF_SITE_ID:API_KEY"},
            "template": f"""{{"type": "person", "action": "event",
 "identifiers": {{
  {{% if customer.customer_id %}}"id": {_OWN_ID}{{% else %}}"email": {_EMAIL}{{% endif %}}}},
 "name": {_EVENT}, "id": {{{{ id | ulid | json }}}}, "timestamp": {{{{ timestamp | unix }}}},
 "attributes": {{"segment": {{{{ segment.name | json }}}}}}}}""",
        },
        "Replace BASE64_OF_SITE_ID:API_KEY by what the command `printf SITE_ID:API_KEY | base64` "
        "says. For accounts in the EU the host is track-eu.customer.io.",
        "https://docs.customer.io/integrations/api/track/",
    ),
)
