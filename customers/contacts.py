"""How to reach a customer, whatever the CRM calls those fields."""

import re
from collections.abc import Mapping
from typing import Any

from customers.models import CustomerField

_EMAIL = re.compile(r"e-?mail", re.IGNORECASE)
_PHONE = re.compile(r"phone|mobile|natel|\btel\b", re.IGNORECASE)


def email(fields: Mapping[str, Any]) -> str:
    """Return the value of the first field that is named like an e-mail address, or ""."""
    return _first(_EMAIL, fields)


def phone(fields: Mapping[str, Any]) -> str:
    """Return the value of the first field that is named like a phone number, or ""."""
    return _first(_PHONE, fields)


def values(kind: str, fields: Mapping[str, Any]) -> list[str]:
    """Return what stands in all fields named like a kind of identifier: email or phone."""
    pattern = _EMAIL if kind == "email" else _PHONE
    return [v for name, v in fields.items() if isinstance(v, str) and pattern.search(name)]


def fields_of(known: Mapping[str, CustomerField]) -> list[CustomerField]:
    """Return the first field named like an e-mail address, and the first like a phone number."""
    found = (
        next((field for name, field in known.items() if pattern.search(name)), None)
        for pattern in (_EMAIL, _PHONE)
    )
    return [field for field in found if field is not None]


def is_contact(name: str) -> bool:
    """Say whether a field belongs to who somebody is and how to reach them."""
    return bool(
        _EMAIL.search(name)
        or _PHONE.search(name)
        or re.search(r"name|address|street|city|zip|country", name, re.IGNORECASE)
    )


def _first(pattern: "re.Pattern[str]", fields: Mapping[str, Any]) -> str:
    return next((v for k, v in fields.items() if isinstance(v, str) and pattern.search(k)), "")
