from collections.abc import Iterable
from typing import Any

from django.apps import AppConfig
from django.core import checks

from activation import addresses


class ActivationConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    name = "activation"
    verbose_name = "Activate"

    def ready(self) -> None:
        checks.register(check_networks)


def check_networks(app_configs: Any, **options: Any) -> Iterable[checks.CheckMessage]:
    """Complain about CDP_WEBHOOK_ALLOW_PRIVATE at the start, not when a message is due."""
    try:
        addresses.opened()
    except ValueError as error:
        hint = "Write networks with commas between: 10.1.0.0/16,fd00::/8"
        yield checks.Error(f"CDP_WEBHOOK_ALLOW_PRIVATE: {error}", hint, id="activation.E001")
