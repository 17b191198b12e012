"""Whether the product is alive, and whether all of its parts work."""

import logging
import time
from datetime import UTC, datetime, timedelta

from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from cdp.models import Heartbeat

logger = logging.getLogger(__name__)

# Each part beats about once a second while it works. Longer silence than this is a failure; a
# batch of the pipeline may take some seconds.
_SILENCE = {
    "pipeline": timedelta(seconds=30),
    "queue": timedelta(seconds=15),
    "sending": timedelta(seconds=15),
}
_BEAT_SECONDS = 1.0
_beaten_at: dict[str, float] = {}


def beat(name: str, at: datetime | None = None) -> None:
    """Note that a part works, or did at an instant; it writes once a second at most.

    Call it as often as you like.
    """
    if time.monotonic() - _beaten_at.get(name, -_BEAT_SECONDS) < _BEAT_SECONDS:
        return
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, at=at or datetime.now(UTC))],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["at"],
    )
    _beaten_at[name] = time.monotonic()


def forget(name: str) -> None:
    """Note that a part starts anew: it does not count as working until its next beat."""
    Heartbeat.objects.filter(name=name).delete()
    _beaten_at.pop(name, None)


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 while the web process is alive."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when every part works, else 503; the body says which part does not and why."""
    parts = {"web": "ok", **_check()}
    is_ready = set(parts.values()) == {"ok"}
    body = {"status": "ok" if is_ready else "not ready", "parts": parts}
    response = JsonResponse(body, status=200 if is_ready else 503)
    # Whoever asks is told; Django need not log an error each time.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _check() -> dict[str, str]:
    try:
        beats = dict(Heartbeat.objects.filter(name__in=_SILENCE).values_list("name", "at"))
    except DatabaseError as error:
        logger.warning("The database does not answer: %s", type(error).__name__)
        return {"database": "does not answer", **dict.fromkeys(_SILENCE, "unknown")}
    now = datetime.now(UTC)
    return {"database": "ok"} | {
        name: _verdict(beats.get(name), now, silence) for name, silence in _SILENCE.items()
    }


def _verdict(beaten_at: datetime | None, now: datetime, silence: timedelta) -> str:
    if beaten_at is None:
        return "has not started"
    if now - beaten_at > silence:
        return f"silent for {(now - beaten_at).total_seconds():.0f} s"
    return "ok"
