"""The form of a destination: for each kind what it needs, as people write it."""

from collections.abc import Mapping
from typing import Any

from django import forms

from activation import carriers, destinations
from activation.models import WEBHOOK, Destination

_BODIES = (
    ("plain", "our JSON with everything"),
    ("mapping", "chosen values"),
    ("template", "a text of my own"),
)


class DestinationForm(forms.ModelForm):
    """A destination; which of the fields count depends on its kind."""

    url = forms.CharField(max_length=2_000, required=False)
    method = forms.ChoiceField(choices=[(m, m) for m in ("POST", "PUT", "PATCH")], required=False)
    headers = forms.CharField(widget=forms.Textarea, required=False)
    body = forms.ChoiceField(choices=_BODIES, required=False)
    mapping = forms.CharField(widget=forms.Textarea, required=False)
    template = forms.CharField(widget=forms.Textarea, required=False, strip=False)
    batch = forms.IntegerField(min_value=1, max_value=carriers.MAX_BATCH, required=False)
    sender = forms.CharField(max_length=300, required=False)
    reply_to = forms.CharField(max_length=300, required=False)
    subject = forms.CharField(max_length=1_000, required=False)
    html = forms.CharField(widget=forms.Textarea, required=False, strip=False)
    text = forms.CharField(widget=forms.Textarea, required=False, strip=False)
    service = forms.CharField(max_length=2_000, required=False)
    title = forms.CharField(max_length=1_000, required=False)
    words = forms.CharField(widget=forms.Textarea, required=False, strip=False)
    other = forms.JSONField(required=False)

    class Meta:
        model = Destination
        fields = ("name", "key", "kind", "rate")

    def __init__(self, *args: Any, may_all: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["name"].error_messages["required"] = "Give the destination a name."
        self.fields["kind"].required = False
        self.kinds = kinds(may_all=may_all)
        if self.instance.pk:
            self.fields["key"].disabled = self.fields["kind"].disabled = True
            self.initial = {**self.initial, **shown(self.instance.kind, self.instance.config)}

    def clean(self) -> dict[str, Any]:
        """Say at once what is wrong, beside the field at fault."""
        cleaned = super().clean() or {}
        kind = cleaned.get("kind") or WEBHOOK
        if kind not in {name for name, _ in self.kinds}:
            self.add_error("kind", "Only administrators may make such destinations.")
            return cleaned
        self.instance.kind = cleaned["kind"] = kind
        if kind == WEBHOOK and not (cleaned.get("url") or "url" in self.errors):
            self.add_error("url", "Enter the address.")
        if not self.errors:
            self.instance.config = config_of(kind, cleaned)
            self.instance.rate = cleaned.get("rate")
            try:
                destinations.check(self.instance)
            except destinations.DestinationError as error:
                self._blame(error)
        return cleaned

    def _blame(self, error: destinations.DestinationError) -> None:
        name = field_of(self.instance.kind, error.member)
        self.add_error(name if name in self.fields else None, str(error))


def field_of(kind: str, member: str) -> str:
    """Return what the form calls a member of a destination."""
    name = member.removeprefix("config.")
    renamed = {"url": "service", "body": "words"} if kind == "chat" else {"from": "sender"}
    return renamed.get(name, name)


def kinds(*, may_all: bool) -> list[tuple[str, str]]:
    """Return the kinds that a user may choose from, with their names for people."""
    return [
        (name, kind.label)
        for name, kind in destinations.KINDS.items()
        if may_all or not kind.admin_only
    ]


def config_of(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Put the configuration together from what was filled in."""
    if kind == WEBHOOK:
        return _webhook(given)
    if kind == "email":
        names = {"from": "sender"} | {n: n for n in ("reply_to", "subject", "html", "text")}
    elif kind == "chat":
        names = {"url": "service", "title": "title", "body": "words"}
    else:
        return given.get("other") or {}
    return {member: given[name].strip() for member, name in names.items() if given.get(name)}


def _webhook(given: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {"url": (given.get("url") or "").strip()}
    if given.get("method", "POST") not in ("", "POST"):
        config["method"] = given["method"]
    if headers := _pairs(given.get("headers") or "", ":"):
        config["headers"] = headers
    if given.get("body") == "mapping":
        config["mapping"] = _pairs(given.get("mapping") or "", "=")
    if given.get("body") == "template":
        config["template"] = given.get("template") or ""
    if (given.get("batch") or 1) > 1:
        config["batch"] = given["batch"]
    return config


def _pairs(text: str, sign: str) -> dict[str, str]:
    """Read a name and a value from each line."""
    lines = (line.partition(sign) for line in text.splitlines() if line.strip())
    return {name.strip(): value.strip() for name, _, value in lines}


def _lines(pairs: Mapping[str, str], sign: str) -> str:
    return "\n".join(f"{name}{sign} {value}" for name, value in pairs.items())


def shown(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Write a configuration as the form's fields hold it; secrets are hidden."""
    if kind == WEBHOOK:
        chosen = (
            "template" if "template" in config else "mapping" if "mapping" in config else "plain"
        )
        return dict(config) | {
            "body": chosen,
            "headers": _lines(config.get("headers", {}), ":"),
            "mapping": _lines(config.get("mapping", {}), " ="),
        }
    if kind == "email":
        return dict(config) | {"sender": config.get("from", "")}
    if kind == "chat":
        members = {"service": "url", "title": "title", "words": "body"}
        return {name: config.get(member, "") for name, member in members.items()}
    return {"other": dict(config)}
