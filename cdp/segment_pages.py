"""The admin pages of segments, with the triggers that rely on them."""

from collections.abc import Sequence
from typing import IO, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.urls import reverse

from activation import outbox
from activation.models import Trigger
from activation.trigger_pages import trigger_url
from cdp import imports
from customers import adminkit
from customers.adminkit import Use
from segments.admin import SegmentAdmin
from segments.memberships import Transition
from segments.models import Segment


@admin.register(Segment)
class SegmentPages(SegmentAdmin):
    """Segments, with the triggers that wait for their customers."""

    def uses(self, segments: Sequence[Segment]) -> dict[int, list[Use]]:
        found = super().uses(segments)
        for trigger in Trigger.objects.filter(segment__in=[segment.pk for segment in segments]):
            use = Use(trigger.name, trigger_url(trigger.pk), "bolt", acts=trigger.is_enabled)
            found[trigger.segment_id].append(use)
        return found

    def links(self, request: HttpRequest, segment: Segment) -> dict[str, Any]:
        if not request.user.has_perm("activation.add_trigger"):
            return {}
        return {"new_trigger": f"{reverse('admin:activation_trigger_add')}?segment={segment.pk}"}

    def tell(self, transitions: Sequence[Transition]) -> None:
        outbox.enqueue(transitions)

    def take_file(self, request: HttpRequest, segment: Segment, file: IO[Any]) -> str:
        if not request.user.has_perm("customers.add_import"):
            raise PermissionDenied
        run = imports.create(
            file,
            name=str(file.name),
            options={"segment": segment.key},
            created_by=adminkit.actor(request),
        )
        imports.start_check(run.pk)
        return reverse("admin:customers_import_change", args=[run.pk])
