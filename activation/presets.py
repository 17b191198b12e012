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

PRESETS = (
    Preset(
        "mailchimp",
        "Mailchimp: add to an audience",
        {
            "url": "https://us1.api.mailchimp.com/3.0/lists/LIST_ID",
            "headers": {"Authorization": "Bearer YOUR_API_KEY"},
            "template": """{"update_existing": true, "members": [{% for message in messages %}
  {"email_address": {{ message.customer.email | json }}, "status": "subscribed",
   "merge_fields": {"FNAME": {{ message.customer.fields.firstName | default: "" | json }}},
   "tags": [{{ message.trigger | json }}]}{% unless forloop.last %},{% endunless %}
{% endfor %}]}""",
            "batch": 500,
        },
        "Replace us1 by the data centre at the end of your API key, LIST_ID and YOUR_API_KEY.",
        "https://mailchimp.com/developer/marketing/api/lists/batch-subscribe-or-unsubscribe/",
    ),
    Preset(
        "brevo",
        "Brevo: track an event",
        {
            "url": "https://api.brevo.com/v3/events",
            "headers": {"api-key": "YOUR_API_KEY"},
            "template": f"""{{"event_name": {_EVENT},
 "event_date": {{{{ timestamp | json }}}},
 "identifiers": {{"email_id": {{{{ customer.email | json }}}}}},
 "event_properties": {{"segment": {{{{ segment.name | json }}}}}}}}""",
        },
        "Replace YOUR_API_KEY. Build an automation that starts with this event.",
        "https://developers.brevo.com/reference/createevent",
    ),
    Preset(
        "klaviyo",
        "Klaviyo: create an event",
        {
            "url": "https://a.klaviyo.com/api/events",
            "headers": {
                "Authorization": "Klaviyo-API-Key YOUR_API_KEY",
                "revision": "2024-10-15",
                "Content-Type": "application/vnd.api+json",
            },
            "template": f"""{{"data": {{"type": "event", "attributes": {{
  "unique_id": {{{{ id | json }}}}, "time": {{{{ timestamp | json }}}},
  "properties": {{"segment": {{{{ segment.name | json }}}}}},
  "metric": {{"data": {{"type": "metric", "attributes": {{"name": {_EVENT}}}}}}},
  "profile": {{"data": {{"type": "profile", "attributes": {{
    "email": {{{{ customer.email | json }}}},
    "external_id": {{{{ customer.customer_id | json }}}}}}}}}}}}}}}}""",
        },
        "Replace YOUR_API_KEY. Build a flow that starts with this metric.",
        "https://developers.klaviyo.com/en/reference/create_event",
    ),
    Preset(
        "customer-io",
        "Customer.io: track an event",
        {
            "url": "https://track.customer.io/api/v2/entity",
            "headers": {"Authorization": "Basic BASE64_OF_SITE_ID:API_KEY"},
            "template": f"""{{"type": "person", "action": "event",
 "identifiers": {{"id": {{{{ customer.customer_id | json }}}}}},
 "name": {_EVENT}, "id": {{{{ id | json }}}},
 "attributes": {{"segment": {{{{ segment.name | json }}}}}}}}""",
        },
        "Replace BASE64_OF_SITE_ID:API_KEY by what the command `printf SITE_ID:API_KEY | base64` "
        "says. For accounts in the EU the host is track-eu.customer.io.",
        "https://docs.customer.io/integrations/api/track/",
    ),
)
