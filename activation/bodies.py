"""What stands in a webhook's request: our JSON, chosen values of it, or a text from a template."""

import json
from typing import Any

from activation import carriers, templating
from activation.carriers import ConfigError, Message
from activation.templating import TemplateError
from customers import exact

MAX_MAPPED = 200


def check(config: dict[str, Any]) -> None:
    """Raise ConfigError unless bodies can be made: `template` or `mapping`, and `batch`."""
    if "template" in config and "mapping" in config:
        raise ConfigError("mapping", "Either a template or a mapping, not both.")
    if "template" in config:
        _check_template(config["template"])
    if "mapping" in config:
        _check_mapping(config["mapping"])
    batch = config.get("batch", 1)
    if (
        isinstance(batch, bool)
        or not isinstance(batch, int)
        or not 1 <= batch <= carriers.MAX_BATCH
    ):
        raise ConfigError("batch", f"From 1 to {carriers.MAX_BATCH:,} customers in one request.")


def _check_template(template: Any) -> None:
    if not isinstance(template, str) or not template.strip():
        raise ConfigError("template", "A text, in Liquid.")
    try:
        templating.check(template)
    except TemplateError as error:
        raise ConfigError("template", str(error)) from error


def _check_mapping(mapping: Any) -> None:
    if not isinstance(mapping, dict) or not 0 < len(mapping) <= MAX_MAPPED:
        raise ConfigError("mapping", f"An object of 1 to {MAX_MAPPED} names and paths.")
    for name, path in mapping.items():
        if not name.strip() or not isinstance(path, str) or not path.strip():
            raise ConfigError(
                "mapping",
                f"{name[:50]!r} needs the path of a value, such as customer.fields.city.",
            )


def write(message: Message) -> str:
    """Return the body of a request: the one that was kept for it, if there is one.

    Raises TemplateError. One that says it is JSON is checked to be.
    """
    if len(message.parts) == 1 and message.parts[0].sent:
        return message.parts[0].sent
    config = message.config
    template, mapping = config.get("template"), config.get("mapping")
    is_batch = config.get("batch", 1) > 1
    if not template and not mapping:
        return _batch(message) if is_batch else message.parts[0].body
    contexts = [templating.context_of(part.body, part.id) for part in message.parts]
    if mapping:
        mapped = [
            {name: templating.at_path(context, path.strip()) for name, path in mapping.items()}
            for context in contexts
        ]
        return exact.dumps(mapped if is_batch else mapped[0])
    context = {"messages": contexts} | (contexts[0] if not is_batch else {})
    text = templating.fill(str(template), context)
    if _is_json(config):
        _check_json(text)
    return text


def _batch(message: Message) -> str:
    parts = (f'{{"id":"{part.id}",{part.body[1:]}' for part in message.parts)
    return '{"type":"batch","messages":[' + ",".join(parts) + "]}"


def _is_json(config: dict[str, Any]) -> bool:
    headers = {name.lower(): value for name, value in config.get("headers", {}).items()}
    return "json" in headers.get("content-type", "application/json").lower()


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise TemplateError(
            f"The template did not make JSON ({error}). Write values as {{{{ … | json }}}}."
        ) from error
