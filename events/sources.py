"""Who may send us events: making sources and their keys."""

import secrets
from typing import Final

from django.db import Error
from django.utils.text import slugify

from events import throttle
from events.models import Channel, Source, SourceKind

KEY_LENGTH: Final = 50
MAX_NAME: Final = 100  # characters


class BadNameError(ValueError):
    """A name that is empty, longer than 100 characters, or no text."""


def create(name: str, kind: str = SourceKind.WEBSITE, **options: object) -> Source:
    """Make a source with a write key of its own; a name that exists gets another key slug.

    A shop's till counts as offline unless `options` name another channel. Raises `BadNameError`.
    """
    if not 0 < len(name.strip()) <= MAX_NAME or "\0" in name:
        raise BadNameError(f"the name of a source has 1 to {MAX_NAME} characters")
    channel = Channel.OFFLINE if kind == SourceKind.STORE else Channel.ONLINE
    if kind == SourceKind.EMAIL:
        options = {"hook_token": _hook_token()} | options
    return Source.objects.create(
        **{"channel": channel, "key": free_key(name)} | options,
        name=name,
        kind=kind,
        write_key=_write_key(),
    )


def rotate(source: Source) -> str:
    """Give the source a new write key and return it; the old one is refused from now on.

    So is the address of an e-mail tool.
    """
    source.write_key = _write_key()
    source.hook_token = source.hook_token and _hook_token()
    source.save(update_fields=["write_key", "hook_token"])
    return source.write_key


def save(source: Source) -> None:
    """Store what was changed of a source; it holds at once here, in a second everywhere."""
    if source.kind == SourceKind.EMAIL and not source.hook_token:
        source.hook_token = _hook_token()
    source.save()
    throttle.forget()


def exists(write_key: str) -> bool:
    return Source.objects.filter(write_key=write_key).exists()


def needs_consent(write_key: str) -> bool | None:
    """Tell whether visitors are asked first; None if no source has this key, or nobody can say."""
    try:
        found = Source.objects.filter(write_key=write_key.replace("\0", ""))
        return found.values_list("needs_consent", flat=True).first()
    except Error:  # the tag is served while the database is away
        return None


def free_key(name: str) -> str:
    """Return a slug of `name` that no source has yet."""
    slug = slugify(name)[: KEY_LENGTH - 5] or "source"
    taken = set(Source.objects.filter(key__startswith=slug).values_list("key", flat=True))
    number = 1
    key = slug
    while key in taken:
        number += 1
        key = f"{slug}-{number}"
    return key


def is_protective(source: Source) -> bool:
    """Tell whether its word must not count against what others told of identified customers.

    The key of a website stands in its pages: anyone may send whatever they like with it.
    """
    return source.kind == SourceKind.WEBSITE and not source.may_overwrite


def protective_origins() -> set[str]:
    """Return how values are marked that came from sources whose word counts less."""
    websites = Source.objects.filter(kind=SourceKind.WEBSITE, may_overwrite=False)
    return {describe(source) for source in websites}


def describe(source: Source) -> str:
    """Name a source as the origin of a value, for people."""
    return f'{source.get_kind_display().lower()} "{source.name}"'


def _write_key() -> str:
    return "wk_" + secrets.token_hex(20)


def _hook_token() -> str:
    return secrets.token_urlsafe(32)
