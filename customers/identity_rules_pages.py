"""The page on which administrators say how people are recognised, and who has said so before."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from customers import adminkit, formats, identity_rules
from customers.adminkit import ReadOnlyAdmin
from customers.models import IdentityRules

SHOWN: Final = 20  # changes
USUAL_KINDS: Final = {
    "anonymous_id": "Devices (anonymous_id)",
    "email": "E-mails",
    "phone": "Phones",
}
NAMES: Final = {
    "trusted": "Trusted",
    "shared": "Shared by several people",
    "limits": "Limits",
    "never": "Name nobody",
    "waiting_days": "Days that reports wait",
}


@admin.register(IdentityRules)
class IdentityRulesAdmin(ReadOnlyAdmin):
    """One page instead of a list: the rules that hold, and below who changed what."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the rules; decide some anew."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        may_change = request.user.has_perm("customers.change_identityrules")
        typed = _typed(identity_rules.current())
        error: identity_rules.RuleError | None = None
        if request.method == "POST":
            if not may_change:
                raise PermissionDenied
            typed = _posted(request)
            try:
                return _save(request, typed)
            except identity_rules.RuleError as problem:
                error = problem
        context = {
            "typed": typed,
            "kinds": [(kind, name, typed[kind]) for kind, name in USUAL_KINDS.items()],
            "faults": {error.member: str(error)} if error else {},
            "may_change": may_change,
            "changes": [*_changes([*IdentityRules.objects.all()[: SHOWN + 1]])][:SHOWN],
            "is_default": identity_rules.current() == identity_rules.defaults(),
        }
        return adminkit.page(
            request, "customers/identity_rules.html", context, title="Identity rules"
        )


def _typed(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules as the form has them: texts."""
    limits = rules["limits"]
    own = {kind: number for kind, number in limits.items() if kind not in USUAL_KINDS}
    return {
        "trusted": [*rules["trusted"]],
        "shared": ", ".join(rules["shared"]),
        **{kind: str(limits.get(kind, "")) for kind in USUAL_KINDS},
        "own_limits": "\n".join(f"{kind} = {number}" for kind, number in own.items()),
        "never": "\n".join(rules["never"]),
        "waiting_days": str(rules["waiting_days"]),
    }


def _posted(request: HttpRequest) -> dict[str, Any]:
    asked = request.POST
    texts = ("shared", *USUAL_KINDS, "own_limits", "never", "waiting_days")
    return {
        "trusted": asked.getlist("trusted"),
        **{name: asked.get(name, "").replace("\0", "").strip() for name in texts},
    }


def _save(request: HttpRequest, typed: Mapping[str, Any]) -> HttpResponse:
    """Change the rules as typed. Raises `identity_rules.RuleError`."""
    given = dict.fromkeys(identity_rules.MEMBERS) if "reset" in request.POST else _read(typed)
    if identity_rules.change(given, by=adminkit.actor(request)):
        messages.success(request, "These rules hold for everything that comes in from now on.")
    else:
        messages.info(request, "Nothing has changed.")
    return adminkit.redirect(request.path)


def _read(typed: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "trusted": typed["trusted"],
        "shared": [kind for kind in typed["shared"].replace(",", " ").split() if kind],
        "limits": {
            **{k: _number("limits", typed[k]) for k in USUAL_KINDS if typed[k]},
            **_own_limits(typed["own_limits"]),
        },
        "never": typed["never"].splitlines(),
        "waiting_days": _number("waiting_days", typed["waiting_days"]),
    }


def _own_limits(text: str) -> dict[str, int]:
    limits = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        kind, _, number = line.partition("=")
        limits[kind.strip()] = _number("limits", number.strip())
    return limits


def _number(member: str, text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 12:
        return int(text)
    raise identity_rules.RuleError(member, f"“{text[:40]}” is no whole number.")


class Changed(NamedTuple):
    """A rule before and after."""

    name: str
    before: str
    after: str


class Change(NamedTuple):
    """Who decided what anew, and when."""

    row: IdentityRules
    changed: list[Changed]


def _changes(rows: list[IdentityRules]) -> Iterator[Change]:
    """Yield what each row changed, the latest first."""
    for row, before in zip(rows, [*rows[1:], IdentityRules()], strict=False):
        changed = [
            Changed(name, _said(member, before), _said(member, row))
            for member, name in NAMES.items()
            if getattr(row, member) != getattr(before, member)
        ]
        yield Change(row, changed)


def _said(member: str, row: IdentityRules) -> str:
    value = getattr(row, member)
    if value is None:
        return "as installed"
    if member == "limits":
        return ", ".join(f"{kind} {formats.number(n)}" for kind, n in sorted(value.items()))
    if member == "waiting_days":
        return str(value) if value else "for ever"
    return ", ".join(value) or "none"
