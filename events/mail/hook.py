"""Where e-mail tools report: each source has a secret address of its own."""

from django.http import HttpRequest, HttpResponse, JsonResponse

from events import collection, inbox
from events.collection import AnswerError
from events.mail import REPORT, amazon, providers, reports
from events.models import Source


@collection.endpoint("POST", "GET", "HEAD")
def hook(request: HttpRequest, token: str) -> HttpResponse:
    """Take a report. 200 means that it is durably stored, as it came; it is read later.

    Some services discard what is answered with 4xx, and ask by GET or HEAD whether we are there.
    """
    source = Source.objects.filter(hook_token=token).first() if "\0" not in token else None
    if source is None:
        raise AnswerError(404, "unknown_address", "No source has this address.")
    if request.method == "POST":
        body = collection.read_body(request)
        request._body = body  # for those who check signatures
        try:
            providers.verify(source.provider, source.hook_secret or "", request)
        except providers.UnverifiedError as error:
            raise AnswerError(401, "unverified", str(error)) from error
        except amazon.UnreachableError as error:
            raise _come_again(error) from error
        if not _is_confirmed(source, body):
            inbox.accept_for(source, REPORT, reports.pack(request, body))
    return JsonResponse({"success": True})


def _is_confirmed(source: Source, body: bytes) -> bool:
    """Tell whether this was Amazon's question if we want reports, and is answered now."""
    if source.provider != "ses" or not source.hook_secret:
        return False  # not verified: somebody must open the link
    try:
        return amazon.confirm(source.hook_secret, body)
    except amazon.UnreachableError as error:
        raise _come_again(error) from error


def _come_again(error: Exception) -> AnswerError:
    return AnswerError(503, "unavailable", str(error), collection.RETRY_AFTER)
