"""Exports over HTTP: ask for one, see how far it is, fetch the file."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django.http import FileResponse, Http404
from django.utils.timezone import localtime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from cdp import exports
from cdp.apikeys import ApiKeyUser
from cdp.exports.kinds import KINDS
from cdp.exports.writing import TYPES, XLSX_ROWS
from cdp.models import Export, ExportState
from customers import apikit, spelling

FILES = {(200, kind): OpenApiTypes.BINARY for kind in TYPES.values()}


class NewExportSerializer(apikit.StrictSerializer):
    """What to export. `filters` are the query parameters of the list of the same things."""

    what = serializers.ChoiceField(
        [*KINDS], help_text='“members” are those of one segment: `{"segment": KEY}`.'
    )
    format = serializers.ChoiceField(
        Export.Format.choices,
        default=Export.Format.CSV,
        help_text=f"“xlsx” holds at most {XLSX_ROWS:,} rows.",
    )
    filters = serializers.DictField(
        child=serializers.CharField(allow_blank=True, max_length=1_000),
        default=dict,
        help_text='As in `{"segment": "vip", "field.city[is_not]": "Bern"}`; all rows if empty.',
    )
    columns = serializers.ListField(
        child=serializers.CharField(max_length=1_000),
        default=list,
        max_length=2_000,
        help_text='Of the file, as in `["customerId", "email"]`; all that there are if empty.',
    )

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        there_are = KINDS[given["what"]].columns()
        for name in given["columns"]:
            if name not in there_are:
                hint = spelling.suggestion(name, there_are)
                raise apikit.refuse("columns", f"There is no column “{name[:100]}”.{hint}")
        return given


class ExportRowsSerializer(serializers.Serializer):
    done = serializers.IntegerField(source="rows_done")
    total = serializers.IntegerField(
        source="rows_total", allow_null=True, help_text="As counted in the beginning."
    )


class ExportSerializer(apikit.StrictModelSerializer):
    """A file that is being written, or waits to be fetched until `expires_at`."""

    what = serializers.ChoiceField([*KINDS])
    state = serializers.ChoiceField(ExportState.choices)
    filters = serializers.DictField(
        child=serializers.CharField(), allow_null=True, help_text="Null if asked for in the admin."
    )
    rows = ExportRowsSerializer(source="*")
    size = serializers.SerializerMethodField(help_text="Of the file, in bytes, once it is done.")
    expires_at = serializers.SerializerMethodField()

    class Meta:
        model = Export
        fields = [
            *("id", "what", "format", "filters", "state", "rows", "size", "error"),
            *("created_at", "finished_at", "expires_at"),
        ]
        read_only_fields = fields

    def get_size(self, export: Export) -> int | None:
        return exports.size(export)

    def get_expires_at(self, export: Export) -> str:
        return apikit.utc(export.created_at + exports.KEPT)


class ExportViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Export]
):
    """Lists as files, written in the background. A key sees those that were asked for by it."""

    resource = "exports"
    model = Export
    queryset = Export.objects.none()  # for the description, which is made without a database
    serializer_class = ExportSerializer
    lookup_value_regex = r"\d{1,18}"
    sends: Sequence[str] = ()  # beside JSON

    def get_queryset(self) -> QuerySet[Export]:
        user: Any = self.request.user
        if isinstance(user, ApiKeyUser):
            found = Export.objects.filter(api_key=user.key)
        elif user.is_superuser:
            found = Export.objects.all()
        else:
            found = Export.objects.filter(created_by=user.pk)
        return found.filter(what__in=[what for what, kind in KINDS.items() if kind.may_read(user)])

    @extend_schema(request=NewExportSerializer, responses={201: ExportSerializer})
    def create(self, request: Request) -> Response:
        """Begin to write a file. Answers at once: read its `state`, then fetch `file/`.

        Besides `exports:write` this takes the right to read what is exported. Without
        `personal-data:read`, the file is masked.
        """
        new = NewExportSerializer(data=request.data)
        new.is_valid(raise_exception=True)
        what, filters = new.validated_data["what"], new.validated_data["filters"]
        columns = [*dict.fromkeys(new.validated_data["columns"])]
        kind = KINDS[what]
        if not kind.may_read(request.user):
            raise exceptions.PermissionDenied
        kind.filtered(filters)  # or the 400
        export = exports.create(
            what,
            new.validated_data["format"],
            "",
            request.user,
            filters=filters,
            columns=columns,
        )
        export.refresh_from_db()
        return Response(ExportSerializer(export).data, status.HTTP_201_CREATED)

    def destroy(self, request: Request, pk: str) -> Response:
        """Remove an export with its file, done or not."""
        exports.remove(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses=FILES)
    @action(detail=True, sends=[*TYPES.values()])
    def file(self, request: Request, pk: str) -> FileResponse:
        """The file, once it is done and until it expires."""
        export = self.get_object()
        if not export.finished_at or exports.is_expired(export):
            raise apikit.Conflict(f"The export is {export.state}: there is no file yet.", "state")
        return answer(export)


def answer(export: Export) -> FileResponse:
    """Send the file under a name that tells what it is. Raises `Http404` if it is gone."""
    name = f"{export.what}-{localtime(export.created_at):%Y-%m-%d-%H%M}.{export.format}"
    try:
        file = export.file.open("rb")
    except FileNotFoundError:
        raise Http404("The file is gone from the disk. Export it once more.") from None
    return FileResponse(file, as_attachment=True, filename=name, content_type=TYPES[export.format])
