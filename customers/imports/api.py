"""Imports over HTTP: upload a file, follow its way, read what was wrong with it."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import exceptions, mixins, parsers, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from customers import apikit, imports
from customers.imports.options import AUTO, DATES, EMPTY, NUMBERS
from customers.imports.uploads import ENCODINGS
from customers.masking import Mask
from customers.models import Import, ImportKind

CSV = {(200, "text/csv"): OpenApiTypes.STR}


@extend_schema_field({"type": "string", "example": '{"create_missing": false}'})
class OptionsField(serializers.Field):
    """A JSON object, in the text of a form field."""

    default_error_messages = {"invalid": "Expected the text of a JSON object."}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        try:
            options = json.loads(data) if isinstance(data, str) else data
        except (ValueError, RecursionError):
            options = None
        if not isinstance(options, dict):
            self.fail("invalid")
        return options


class UploadSerializer(apikit.StrictSerializer):
    """A file to import. Options may stand for themselves or together in `options`."""

    file = serializers.FileField(help_text="CSV, also packed by gzip or zip.")
    kind = serializers.ChoiceField(ImportKind.choices, default=ImportKind.CUSTOMER_FIELDS)
    dry_run = serializers.BooleanField(
        default=False, help_text="Only check the file; `apply` imports it afterwards."
    )
    numbers = serializers.ChoiceField(
        (*NUMBERS, AUTO), required=False, help_text="“auto” finds out by the first lines."
    )
    dates = serializers.ChoiceField(
        (*DATES, AUTO),
        required=False,
        help_text="“auto” finds out by the first lines; “excel” are days since the end of 1899.",
    )
    encoding = serializers.ChoiceField(
        [*ENCODINGS], required=False, help_text="Found out if it is left out."
    )
    delimiter = serializers.CharField(
        required=False, trim_whitespace=False, help_text="Found out if it is left out."
    )
    empty = serializers.ChoiceField(
        EMPTY, required=False, help_text="What an empty cell does to the value."
    )
    create_missing = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Create unknown customers."
    )
    source = serializers.CharField(  # type: ignore[assignment]  # the name is an attribute's, too
        required=False, help_text="The key of the source that events are of."
    )
    segment = serializers.CharField(
        required=False, help_text="The key of the segment, kept by hand, that members are for."
    )
    options = OptionsField(default=dict, help_text="The options as the text of a JSON object.")

    def chosen(self) -> dict[str, Any]:
        """Return the options that were given."""
        given: dict[str, Any] = self.validated_data
        names = {*self.fields} - {"file", "kind", "dry_run", "options"}
        own = {name: given[name] for name in names if given.get(name) is not None}
        return given["options"] | own


class RowsSerializer(serializers.Serializer):
    total = serializers.IntegerField(source="rows_total")
    ok = serializers.IntegerField(source="rows_ok")
    errors = serializers.IntegerField(source="rows_failed")  # type: ignore[assignment]


class TouchedSerializer(serializers.Serializer):
    created = serializers.IntegerField(source="customers_created")
    updated = serializers.IntegerField(source="customers_updated")


class ImportSerializer(apikit.StrictModelSerializer):
    """An import. `summary` counts what the file holds and groups what was wrong with it."""

    rows = RowsSerializer(source="*", read_only=True)
    customers = TouchedSerializer(source="*", read_only=True)
    progress = serializers.FloatField(read_only=True, help_text="From 0 to 1.")
    is_undoable = serializers.SerializerMethodField(help_text="Whether it wrote what `undo` takes.")

    class Meta:
        model = Import
        fields = [
            *("id", "kind", "state", "file_name", "file_size", "rows", "customers", "progress"),
            *("options", "format", "summary", "error", "created_by"),
            *("created_at", "started_at", "finished_at", "is_undoable", "undone_at"),
        ]
        read_only_fields = fields

    def to_representation(self, instance: Import) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        request = self.context.get("request")
        if request is None or not Mask(request.user).is_clear:
            shown["summary"] = imports.without_examples(shown["summary"])
        return shown

    def get_is_undoable(self, run: Import) -> bool:
        view = self.context.get("view")
        kind = view.kinds.get(run.kind) if view else imports
        return bool(kind and kind.is_undoable(run))


class ImportFilters(apikit.StrictFilterSet):
    class Meta:
        model = Import
        fields = ["kind", "state"]


class ImportViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Import]
):
    """Files that are imported in the background, a chunk at a time."""

    resource = "imports"
    model = Import
    queryset = Import.objects.all()
    serializer_class = ImportSerializer
    parser_classes = (parsers.MultiPartParser,)
    filterset_class: Any = ImportFilters
    lookup_value_regex = r"\d{1,18}"
    sends: Sequence[str] = ()  # beside JSON
    kinds: ClassVar[Mapping[str, Any]] = {ImportKind.CUSTOMER_FIELDS: imports}

    @extend_schema(request=UploadSerializer, responses={201: ImportSerializer})
    def create(self, request: Request) -> Response:
        """Upload a file and import it, or only check it. Answers at once; read its progress."""
        upload = UploadSerializer(data=request.data)
        upload.is_valid(raise_exception=True)
        kind = self._kind(upload.validated_data["kind"], writes=True)
        file = upload.validated_data["file"]
        try:
            run = kind.create(
                file, name=file.name, options=upload.chosen(), created_by=apikit.actor(request)
            )
        except imports.OptionError as error:
            raise apikit.refuse(error.option, str(error)) from error
        except imports.FileError as error:
            raise apikit.refuse("file", str(error)) from error
        start = kind.start_check if upload.validated_data["dry_run"] else kind.start_apply
        start(run.pk)
        run.refresh_from_db()
        return Response(
            ImportSerializer(run, context=self.get_serializer_context()).data,
            status.HTTP_201_CREATED,
        )

    def destroy(self, request: Request, pk: str) -> Response:
        """Remove the file and the report. What was imported stays."""
        imports.discard(self.get_object().pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses=ImportSerializer)
    @action(detail=True, methods=["post"])
    def apply(self, request: Request, pk: str) -> Response:
        """Import a file that was checked."""
        return self._do(self._kind(self.get_object().kind, writes=True).start_apply)

    @extend_schema(request=None, responses=ImportSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Stop after the chunk that is under way. What was imported so far stays."""
        return self._do(imports.stop)

    @extend_schema(request=None, responses=ImportSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on where an import was stopped or failed."""
        self._kind(self.get_object().kind, writes=True)
        return self._do(imports.resume)

    @extend_schema(request=None, responses=ImportSerializer)
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str) -> Response:
        """Take back what an import changed, where nothing newer has changed it since.

        Events are taken from their customers. Customers whom it created and who have nothing else
        are removed. Read `summary.undo` for how many were `restored`, `removed` and `kept`, and
        `kept.csv` for the latter.
        """
        return self._do(self._kind(self.get_object().kind, writes=True).start_undo)

    @extend_schema(responses=CSV)
    @action(detail=True, url_path="kept.csv", sends=["text/csv"])
    def kept(self, request: Request, pk: str) -> HttpResponseBase:
        """The customers that an undo left as they are, with the reason."""
        if not Mask(request.user).is_clear:
            raise exceptions.PermissionDenied
        run = self.get_object()
        return _csv(imports.kept_file(run), f"kept-{run.pk}.csv")

    @extend_schema(responses=CSV)
    @action(detail=True, url_path="errors.csv", sends=["text/csv"])
    def errors(self, request: Request, pk: str) -> HttpResponseBase:
        """The lines with errors: line number, reason, and the line to be mended and sent again."""
        if not Mask(request.user).is_clear:
            raise exceptions.PermissionDenied
        run = self.get_object()
        return _csv(imports.error_file(run), f"errors-{run.pk}.csv")

    @extend_schema(
        parameters=[OpenApiParameter("kind", str, enum=ImportKind.values)], responses=CSV
    )
    @action(detail=False, url_path="example.csv", sends=["text/csv"])
    def example(self, request: Request) -> HttpResponseBase:
        """An example file of a kind; of customer_fields, with the fields there are, if none."""
        kind = request.query_params.get("kind", ImportKind.CUSTOMER_FIELDS)
        return _csv([self._kind(kind).example()], f"example-{kind}.csv")

    def check_kind(self, kind: str) -> None:
        """Raise `PermissionDenied` where writing such a file needs more than imports do."""

    def _kind(self, kind: str, *, writes: bool = False) -> Any:
        if kind not in self.kinds:
            raise apikit.refuse("kind", f"There are {', '.join(sorted(self.kinds))}.", "unknown")
        if writes:
            self.check_kind(kind)
        return self.kinds[kind]

    def _do(self, act: Callable[[int], None]) -> Response:
        run = self.get_object()
        try:
            act(run.pk)
        except imports.StateError as error:
            raise apikit.Conflict(str(error), "state") from error
        run.refresh_from_db()
        return Response(ImportSerializer(run, context=self.get_serializer_context()).data)


def _csv(lines: Any, name: str) -> StreamingHttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)
