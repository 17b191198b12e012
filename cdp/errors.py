"""How the API answers what nobody foresaw: a race, a database that is away."""

from django.db import IntegrityError, InterfaceError, OperationalError
from drf_standardized_errors import handler
from rest_framework import exceptions, status

from customers import apikit, identity


class Unavailable(exceptions.APIException):
    """It is not the request's fault: it may be sent again in a moment."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The database cannot answer now. Try again."
    default_code = "unavailable"
    wait = 2  # seconds, sent as Retry-After


class ExceptionHandler(handler.ExceptionHandler):
    """Two who create the same thing at once: one hears 409. A busy or absent database: 503."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        if isinstance(exc, IntegrityError):
            return apikit.Conflict("Somebody else changed the same thing at this moment.")
        if isinstance(exc, OperationalError | InterfaceError | identity.RacedError):
            return Unavailable()
        return super().convert_known_exceptions(exc)
