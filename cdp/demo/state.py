"""Whether the demo is here, for its pages and commands."""

from cdp.demo.models import Load
from events.models import Source

SHOP, TILLS = "demo-online", "demo-till"  # keys of its sources


def is_open() -> bool:
    """Whether the demo's pages may be seen: it is here or on its way in."""
    return Load.objects.filter(removed_at=None, removing_at=None).exists()


def is_ready() -> bool:
    """Whether all of it is here."""
    return Load.objects.filter(ready_at__isnull=False, removing_at=None).exists()


def was_removed() -> bool:
    return Load.objects.filter(removed_at__isnull=False).exists()


def shop_source() -> Source | None:
    """Return the source whose key is on the shop's pages; None unless the demo is here."""
    return Source.objects.filter(key=SHOP).first() if is_open() else None
