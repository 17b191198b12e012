"""The kinds of destinations there are: ours, and those of packages that are installed."""

import hashlib
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from uuid import UUID

from activation.carriers import Kind, Part
from activation.emailing import EmailKind
from activation.models import WEBHOOK
from activation.webhook import WebhookKind

GROUP = "cdp.destinations"


class BadKindError(TypeError):
    """An installed package offers as a kind of destination what is none."""


def load() -> dict[str, Kind]:
    """Return every kind by its name. Raises BadKindError, naming the package at fault."""
    found: dict[str, Kind] = {WEBHOOK: WebhookKind(), "email": EmailKind()}
    if find_spec("apprise"):  # the optional extra `chat`
        found["chat"] = import_module("activation.chat").ChatKind()
    for point in entry_points(group=GROUP):
        made = point.load()
        kind = made() if isinstance(made, type) else made
        if not isinstance(kind, Kind) or point.name in found:
            raise BadKindError(f"{point.value} ({point.name}) is no new kind of destination.")
        found[point.name] = kind
    return found


def id_of(parts: Sequence[Part]) -> UUID:
    """Return the id of a request: the delivery's, or one made from those of all parts."""
    if len(parts) == 1:
        return parts[0].id
    digest = hashlib.sha256(b"".join(part.id.bytes for part in parts)).digest()
    return UUID(bytes=digest[:16], version=5)
