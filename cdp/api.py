"""The API's resources, and what of them needs more than one floor."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework import exceptions, permissions, status
from rest_framework.decorators import action
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import Route, SimpleRouter
from rest_framework.views import APIView

from activation import api as activation_api
from activation import outbox
from cdp import apikeys, erasure, export, identities_api
from cdp import imports as member_imports
from cdp.customer_filters import CustomerFilters, segment_of
from cdp.duplicates import PossibleDuplicateViewSet
from cdp.exports.api import ExportViewSet
from customers import api as customers_api
from customers import apikit, consent, identity_rules_api
from customers.consent import api as consent_api
from customers.imports import api as imports_api
from customers.masking import Mask
from customers.models import (
    Consent,
    ConsentChange,
    ConsentPurpose,
    CustomerField,
    ImportKind,
)
from events import api as events_api
from events import imports as event_imports
from events import sources_api
from events.models import Event
from segments import api as segments_api
from segments import definitions, explain
from segments.memberships import Transition
from segments.models import Membership, Segment
from segments.serializers import ExplanationSerializer, MembershipSerializer


class Router(SimpleRouter):
    """Lists also take PUT: many at once; and DELETE: those that the body names."""

    routes = [
        route._replace(mapping=route.mapping | {"put": "upsert", "delete": "remove"})
        if isinstance(route, Route) and "post" in route.mapping
        else route
        for route in SimpleRouter.routes
    ]


class CustomerFieldViewSet(customers_api.CustomerFieldViewSet):
    def perform_update(self, serializer: Any) -> None:
        """Change what may change; a type only while nobody has a value and no rule is broken."""
        field: CustomerField = serializer.instance
        new_type = serializer.validated_data.get("type", field.type)
        if new_type != field.type and (broken := definitions.broken_by_type(field.name, new_type)):
            names = ", ".join(f"“{segment}”" for segment in broken)
            message = (
                f"Segments compare this field in ways that fit its present type only: {names}."
            )
            raise apikit.Conflict(message, "in_use")
        super().perform_update(serializer)

    def perform_destroy(self, instance: CustomerField) -> None:
        """Remove the field and the values that customers have of it, unless a segment uses it."""
        if using := definitions.using_field(instance.name):
            names = ", ".join(f"“{segment}”" for segment in using)
            raise apikit.Conflict(f"Segments use this field: {names}.", "in_use")
        super().perform_destroy(instance)


class CustomerViewSet(identities_api.IdentityActions, customers_api.CustomerViewSet):
    filterset_class = CustomerFilters

    def destroy(self, request: Request, pk: str) -> Response:
        """Erase a customer with everything that is known about them. It cannot be undone."""
        erasure.erase([self.get_object().pk], by=apikit.actor(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    @action(detail=True, also_reads=("events", "segments", "activation", "personal-data"))
    def export(self, request: Request, pk: str) -> StreamingHttpResponse:
        """All that is known about the customer: values and their origin, events, segments, sent."""
        customer = self.get_object()
        if not Mask(request.user).is_clear:
            raise exceptions.PermissionDenied
        name = f'attachment; filename="customer-{customer.pk}.json"'
        return StreamingHttpResponse(
            export.person(customer),
            content_type="application/json",
            headers={"Content-Disposition": name},
        )

    @extend_schema(responses=events_api.EventSerializer(many=True), filters=False)
    @action(detail=True, resource="events", model=Event)
    def events(self, request: Request, pk: str) -> Response:
        """What the customer did, as it was received, the latest first."""
        rows = Event.objects.filter(customer=self.get_object()).select_related("name", "source")
        return self._page(rows, events_api.EventSerializer)

    @extend_schema(responses=MembershipSerializer(many=True), filters=False)
    @action(
        detail=True,
        resource="segments",
        model=Membership,
        page_order=("-entered_at", "-segment_id"),
    )
    def memberships(self, request: Request, pk: str) -> Response:
        """The segments that the customer is in."""
        rows = Membership.objects.filter(customer=self.get_object()).select_related("segment")
        return self._page(rows, MembershipSerializer)

    @extend_schema(responses=consent_api.ConsentSerializer(many=True), filters=False)
    @action(detail=True, resource="consents", model=Consent, page_order=("purpose",))
    def consents(self, request: Request, pk: str) -> Response:
        """What the customer agreed to and refused, as of now."""
        rows = Consent.objects.filter(customer=self.get_object())
        return self._page(rows, consent_api.ConsentSerializer)

    @extend_schema(responses=consent_api.ConsentChangeSerializer(many=True), filters=False)
    @action(detail=True, url_path="consent-history", resource="consents", model=ConsentChange)
    def consent_history(self, request: Request, pk: str) -> Response:
        """Every decision ever recorded, the latest first: with its wording and origin."""
        rows = ConsentChange.objects.filter(customer=self.get_object())
        return self._page(rows, consent_api.ConsentChangeSerializer)

    @extend_schema(
        parameters=[OpenApiParameter("segment", str, required=True, description="Its key.")],
        responses=ExplanationSerializer,
    )
    @action(detail=True, resource="segments", model=Segment)
    def explain(self, request: Request, pk: str) -> Response:
        """Why the customer is in a segment or not, and when time alone will change that."""
        segment = segment_of(request.query_params.get("segment", ""))
        explanation = explain.explain(segment, self.get_object().pk)
        explanation = explain.masked(explanation, Mask(request.user))
        return Response(ExplanationSerializer(explanation).data)


class ConsentPurposeViewSet(consent_api.ConsentPurposeViewSet):
    def perform_destroy(self, instance: ConsentPurpose) -> None:
        """Remove a purpose that nobody has decided about and no segment uses."""
        if using := definitions.using_field(consent.PREFIX + instance.key):
            names = ", ".join(f"“{segment}”" for segment in using)
            raise apikit.Conflict(f"Segments use this purpose: {names}.", "in_use")
        super().perform_destroy(instance)


class ImportViewSet(imports_api.ImportViewSet):
    kinds = {
        **imports_api.ImportViewSet.kinds,
        ImportKind.EVENTS: event_imports,
        ImportKind.SEGMENT_MEMBERS: member_imports,
    }

    def check_kind(self, kind: str) -> None:
        if kind == ImportKind.SEGMENT_MEMBERS:
            apikeys.require(self.request, "segments", "segments.change_segment")


class SegmentViewSet(segments_api.SegmentViewSet):
    def announce(self, transitions: Sequence[Transition]) -> None:
        """Send what triggers wait for."""
        outbox.enqueue(transitions)


router = Router()
router.register("customer-fields", CustomerFieldViewSet, basename="customer-field")
router.register("customers", CustomerViewSet, basename="customer")
router.register("consent-purposes", ConsentPurposeViewSet, basename="consent-purpose")
router.register("consents", consent_api.ConsentViewSet, basename="consent")
router.register("suppressions", consent_api.SuppressionViewSet, basename="suppression")
router.register("possible-duplicates", PossibleDuplicateViewSet, basename="possible-duplicate")
router.register("erasures", customers_api.ErasureViewSet, basename="erasure")
router.register("identity-rules", identity_rules_api.IdentityRulesViewSet, basename="identity-rule")
router.register("imports", ImportViewSet, basename="import")
router.register("exports", ExportViewSet, basename="export")
router.register("events", events_api.EventViewSet, basename="event")
router.register("event-names", events_api.EventNameViewSet, basename="event-name")
router.register("sources", sources_api.SourceViewSet, basename="source")
router.register("quarantine", events_api.QuarantineViewSet, basename="quarantine")
router.register("waiting-events", events_api.WaitingViewSet, basename="waiting-event")
router.register("segments", SegmentViewSet, basename="segment")
router.register("destinations", activation_api.DestinationViewSet, basename="destination")
router.register("triggers", activation_api.TriggerViewSet, basename="trigger")
router.register("deliveries", activation_api.DeliveryViewSet, basename="delivery")

# The name of a file takes no slash; the router's address for it has one, as all others do.
errors_of_import = ImportViewSet.as_view(
    {"get": "errors"}, schema=None, detail=True, sends=["text/csv"]
)
# There is one set of rules: its address is that of a list, and names no row.
identity_rules = identity_rules_api.IdentityRulesViewSet.as_view(
    {"get": "current", "patch": "change"}
)


class SchemaView(SpectacularAPIView):
    """The OpenAPI description, open to all; JSON unless YAML is asked for."""

    renderer_classes = [
        OpenApiJsonRenderer2,
        OpenApiJsonRenderer,
        OpenApiYamlRenderer,
        OpenApiYamlRenderer2,
    ]
    content_negotiation_class = DefaultContentNegotiation
    throttle_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(_schema())


@cache
def _schema() -> Any:
    """Describe the API: a quarter of a second, and the same for everyone."""
    return SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]


class DocsView(SpectacularSwaggerSplitView):
    """The description as a page, where requests can be tried; nothing comes from outside."""

    template_name = "cdp/api_docs.html"
    title = "API of the CDP"
    throttle_classes = ()


class NowhereView(APIView):
    """Every other address under /api/, so that programs get an answer they can read."""

    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)
    throttle_classes = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        hint = "" if request.path.endswith("/") else " Every path ends in a slash."
        raise exceptions.NotFound(f"There is nothing here.{hint} See /api/docs/.")
