"""How the API answers what nobody foresaw: a race, a database that is away, a full disk."""

import errno
import logging

from django.db import IntegrityError, InterfaceError, OperationalError
from drf_standardized_errors import handler
from rest_framework import exceptions, status
from rest_framework.response import Response

from customers import apikit, identity

logger = logging.getLogger(__name__)


class Unavailable(exceptions.APIException):
    """It is not the request's fault: it may be sent again in a moment."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The database cannot answer now. Try again."
    default_code = "unavailable"
    wait = 2  # seconds, sent as Retry-After


class DiskFull(Unavailable):
    default_detail = "The disk of the server is full; nothing was kept. Try again when it is not."


class ExceptionHandler(handler.ExceptionHandler):
    """Two who create the same thing at once: one hears 409. A busy or absent database: 503."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        if isinstance(exc, IntegrityError):
            return apikit.Conflict("Somebody else changed the same thing at this moment.")
        if isinstance(exc, OperationalError | InterfaceError | identity.RacedError):
            return Unavailable()
        if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull()
        return super().convert_known_exceptions(exc)

    def report_exception(self, exc: exceptions.APIException, response: Response) -> None:
        """Log what is no bug in a line: a stack for each request would bury the others."""
        if isinstance(exc, Unavailable):
            reason = str(self.exc).partition("\n")[0]
            logger.warning("the API is unavailable: %s: %s", type(self.exc).__name__, reason)
            response._has_been_logged = True  # type: ignore[attr-defined]
            return
        super().report_exception(exc, response)
