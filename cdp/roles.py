"""What people may do: roles, as groups of Django's permissions; somebody may have several."""

from collections.abc import Mapping
from typing import Any, Final

ALL: Final = ("view", "add", "change", "delete")
LOOK: Final = ("view",)
PERSONAL_DATA: Final = "see_personal_data"

_MARKETING: Final = {
    "customers.customer": ("view", "add", "change", PERSONAL_DATA),
    "customers.customerfield": ALL,
    "customers.import": ALL,
    "customers.consent": LOOK,
    "customers.consentpurpose": ALL,
    "customers.suppression": ("view", "add", "delete"),
    "segments.segment": ALL,
    "cdp.export": ("view", "add"),
    "activation.destination": ALL,
    "activation.trigger": ALL,
    "activation.delivery": ("view", "change"),
    "events.event": LOOK,
    "events.eventname": ("view", "change"),
    "events.quarantine": ("view", "change", "delete"),
}
_LOOKING: Final = dict.fromkeys(_MARKETING, LOOK)
_SETUP: Final = {
    "customers.customer": (*ALL, PERSONAL_DATA),
    "customers.erasure": LOOK,
    "events.source": ("view", "add", "change"),
    "customers.identityrules": ("view", "change"),
    "cdp.apikey": ("view", "add", "change"),
    "auth.user": ALL,
    "django_q.ormq": LOOK,
    "django_q.failure": ("view", "change"),
    "django_q.schedule": LOOK,
}
ROLES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "Viewer": _LOOKING,
    "Personal data": {"customers.customer": (PERSONAL_DATA,)},  # for viewers who need it
    "Marketer": _MARKETING,
    "Administrator": {**_MARKETING, **_SETUP},
}

MEANING: Final[Mapping[str, str]] = {
    "Viewer": "sees customers, segments, triggers and what was sent; names, e-mails and other "
    "personal data are hidden.",
    "Personal data": "sees personal data too. For viewers who need it.",
    "Marketer": "all that, and changes it: imports, fields, segments, triggers, destinations. "
    "Cannot erase customers.",
    "Administrator": "all that, and sources, identity rules, keys to the API, users, and erasing "
    "customers.",
}


def create(group_model: Any, permission_model: Any) -> None:
    """Create the roles, or give them back what they had at first; others are left alone.

    Takes the models, so that a migration can pass its own.
    """
    for name, grants in ROLES.items():
        group, _ = group_model.objects.get_or_create(name=name)
        group.permissions.set(
            permission
            for label, rights in grants.items()
            for permission in _permissions(permission_model, label, rights)
        )


def _permissions(permission_model: Any, label: str, rights: tuple[str, ...]) -> Any:
    app, model = label.split(".")
    return permission_model.objects.filter(
        content_type__app_label=app,
        content_type__model=model,
        codename__in=[r if r == PERSONAL_DATA else f"{r}_{model}" for r in rights],
    )
