"""Personal data, masked for those who may not see it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Final

from customers import exact
from customers.sql import records

MASK: Final = "•••"  # stands for a value that somebody may not see
PERMISSION: Final = "customers.see_personal_data"
# Words of personal things that every tool sends, however it writes them (see `_plain`).
_ALWAYS: Final = ("email", "phone", "mobile", "natel", "ipaddress")
_EXACTLY: Final = {"ip", "tel", "useragent"}
# Members of JSON that hold what customers are and did: inside, names of fields are recognised.
_HOLDERS: Final = {
    *("fields", "changes", "properties", "context", "traits", "body", "row", "payload", "data"),
}
_KINDS: Final = {"email", "phone"}  # of identifiers
_EMAIL: Final = re.compile(r"[\w.+%'-]+@[\w-]+(?:\.[\w-]+)+")
_PHONE: Final = re.compile(r"\+[1-9][0-9]{7,14}(?![0-9])")


class Mask:
    """What somebody may not see: the fields that are marked as personal, e-mails and phones."""

    def __init__(self, user: Any = None) -> None:
        self._user = user

    @cached_property
    def is_clear(self) -> bool:
        """Whether everything may be seen."""
        return self._user is None or bool(self._user.has_perm(PERMISSION))

    @cached_property
    def _hidden(self) -> set[str]:
        return {_plain(name) for name in records.personal_fields()} | _EXACTLY

    def hides(self, name: str) -> bool:
        """Say whether the values of a field or property of this name are masked."""
        if self.is_clear:
            return False
        plain = _plain(name)
        return plain in self._hidden or any(word in plain for word in _ALWAYS)

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by field, those masked that may not be seen."""
        return {name: self.value(name, value) for name, value in values.items()}

    def value(self, name: str, value: Any) -> Any:
        """Return the value of a field, or the mask."""
        if value is not None and self.hides(name):
            return MASK
        return self.text(value) if isinstance(value, str) else value

    def identifier(self, kind: str, value: str) -> str:
        if self.is_clear:
            return value
        return MASK if kind in _KINDS else self.text(value)

    def text(self, text: str) -> str:
        """Return a text without the e-mail addresses and phone numbers in it."""
        if self.is_clear or ("@" not in text and "+" not in text):
            return text
        return _PHONE.sub(MASK, _EMAIL.sub(MASK, text))

    def json(self, value: Any, *, inside: bool = False) -> Any:
        """Return JSON with personal data masked, wherever it stands.

        Names of fields count within what holds a customer's values (`inside`), so that a field
        called "name" does not hide the names of segments.
        """
        if self.is_clear:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return dict(self._members(value, inside))
        if isinstance(value, list | tuple):
            return [self.json(one, inside=inside) for one in value]
        return value

    def raw(self, text: str) -> str:
        """Return a text that may be JSON, as others sent it."""
        if self.is_clear:
            return text
        try:
            return exact.dumps(self.json(exact.loads(text), inside=True))
        except ValueError:
            return self.text(text)

    def _members(self, value: Mapping[str, Any], inside: bool) -> Iterator[tuple[str, Any]]:  # noqa: FBT001
        is_identifier = value.get("kind") in _KINDS
        for name, one in value.items():
            key = str(name)
            if one is None or isinstance(one, bool):
                yield name, one
            elif (inside and self.hides(key)) or (is_identifier and key == "value"):
                yield name, _replaced(one)
            elif key in _HOLDERS and isinstance(one, str):
                yield name, self.raw(one)
            else:
                yield name, self.json(one, inside=inside or key in _HOLDERS)


def _replaced(value: Any) -> Any:
    """Return the mask in place of a value; how many there are may be seen."""
    if isinstance(value, list):
        return [MASK for _ in value]
    if isinstance(value, Mapping):
        return {key: one if key == "count" else MASK for key, one in value.items()}
    return MASK


CLEAR: Final = Mask()
_viewer: ContextVar[Mask] = ContextVar("viewer", default=CLEAR)


def current() -> Mask:
    """Return the mask of whom a page is shown to; clear outside of pages of staff."""
    return _viewer.get()


def show_to(user: Any) -> None:
    """Show what follows to this user, within `showing_to` or to the end of the request."""
    _viewer.set(Mask(user))


@contextmanager
def showing_to(user: Any) -> Iterator[Mask]:
    """Show everything within to this user."""
    mask = Mask(user)
    token = _viewer.set(mask)
    try:
        yield mask
    finally:
        _viewer.reset(token)


def _plain(name: str) -> str:
    """Return a name without case and joints: first_name, First Name and firstName are one."""
    return re.sub(r"[\W_]", "", name).lower()
