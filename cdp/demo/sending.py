"""The demo's destinations and triggers: one that works, and one that is meant to fail."""

from typing import Any

from django.conf import settings
from django.urls import reverse

from activation import addresses, destinations, triggers
from activation.models import Destination, Trigger
from cdp.demo import audience
from segments.models import Segment

EMAIL_TOOL = "demo-email-tool"
NOBODY = "demo-nobody"
_EVERYWHERE = ("0.0.0.0", "::", "127.0.0.1", "::1", "localhost")  # noqa: S104 (compared with)
_DISCARD = 9  # the port of a service that nobody has run for decades


def create() -> list[Destination]:
    """Create the destinations; nothing is sent before there is a trigger."""
    return [
        _destination(EMAIL_TOOL, "E-mail tool (demo)", email_tool_url()),
        _destination(
            NOBODY, "Nobody at home (demo of a failure)", f"http://127.0.0.1:{_DISCARD}/hook"
        ),
    ]


def _destination(key: str, name: str, url: str) -> Destination:
    destination = Destination(key=key, name=name, config={"url": url})
    destinations.save(destination)
    return destination


def email_tool_url() -> str:
    """Return where the e-mail tool, which is a page of this product, is reached from within."""
    host = f"[{_own_host()}]" if ":" in _own_host() else _own_host()
    return f"http://{host}:{settings.PORT}{reverse('demo:email-tool')}"


def may_reach_email_tool() -> bool:
    """Whether the settings let webhooks go to this very machine."""
    try:
        return addresses.is_allowed(_own_host())
    except ValueError:  # a name: what it stands for is looked up when something is sent
        return True


def _own_host() -> str:
    return "127.0.0.1" if settings.HOST in _EVERYWHERE else str(settings.HOST)


def follow_port() -> None:
    """Send to where the product now listens: it may have been started at another port."""
    destination = Destination.objects.filter(key=EMAIL_TOOL).first()
    if destination and destination.config != {"url": email_tool_url()}:
        destination.config = {"url": email_tool_url()}
        destinations.save(destination)


def switch_on() -> list[Trigger]:
    """Create the triggers, switched on: of whoever enters from now on, they tell."""
    return [
        _trigger(
            key="forward-big-spenders",
            name="Forward big spenders to the e-mail tool",
            segment=Segment.objects.get(key=audience.BIG_SPENDERS),
            destination=Destination.objects.get(key=EMAIL_TOOL),
        ),
        _trigger(
            key="remind-of-carts",
            name="Remind of carts (fails on purpose)",
            segment=Segment.objects.get(key=audience.CARTS),
            destination=Destination.objects.get(key=NOBODY),
        ),
    ]


def _trigger(**members: Any) -> Trigger:
    trigger = Trigger(is_enabled=True, **members)
    triggers.save(trigger)
    return trigger
