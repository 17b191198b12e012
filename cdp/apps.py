from django.apps import AppConfig
from django.conf import settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured


class CdpConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    name = "cdp"
    verbose_name = "Setup"

    def ready(self) -> None:
        """Try the backend of e-mail that was chosen, while somebody reads what is wrong."""
        if not settings.EMAIL_BACKEND:
            return
        try:
            mail.get_connection()
        except (ImportError, ImproperlyConfigured) as error:
            reason = " ".join(str(error).split())
            raise ImproperlyConfigured(f"CDP_EMAIL_BACKEND with CDP_ANYMAIL: {reason}") from error
