"""Pages of the API: by cursor, so that page 10,000 costs what page 1 does."""

from datetime import datetime
from typing import Any, NamedTuple

from django.core import signing
from django.db.models import QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from customers import apikit

_NEWEST_FIRST = ("-id",)


class _Cursor(NamedTuple):
    """Where a page begins: just after (or ends: just before) the row with these values."""

    before: bool
    values: list[Any]


class CursorPagination(BasePagination):
    """A page is found by the values of the row before it, not by counting rows.

    A view may name its own `page_order`, which must tell any two rows apart and run in one
    direction. Unlike DRF's own, this keeps every row where thousands share one value, as the
    members of a freshly filled segment do.
    """

    page_size = 100
    max_page_size = 1_000
    before: _Cursor | None = None
    after: _Cursor | None = None

    def paginate_queryset(  # type: ignore[override]  # a list has no order to go by
        self, queryset: QuerySet[Any], request: Request, view: Any = None
    ) -> list[Any]:
        self.request = request
        order = getattr(view, "page_order", _NEWEST_FIRST)
        self.names = [name.lstrip("-") for name in order]
        self.salt = f"{queryset.model._meta.label}:{','.join(order)}"
        size = self._page_size()
        cursor = self._cursor()
        is_backwards = cursor is not None and cursor.before
        is_descending = order[0].startswith("-") != is_backwards
        if cursor:
            queryset = queryset.filter(self._beyond(cursor.values, descending=is_descending))
        order = [f"-{name}" if is_descending else name for name in self.names]
        rows = list(queryset.order_by(*order)[: size + 1])
        has_more = len(rows) > size
        rows = rows[:size][:: -1 if is_backwards else 1]
        if rows and (is_backwards or has_more):
            self.after = _Cursor(before=False, values=self._values(rows[-1]))
        if rows and (has_more if is_backwards else cursor):
            self.before = _Cursor(before=True, values=self._values(rows[0]))
        return rows

    def _page_size(self) -> int:
        asked = self.request.query_params.get("page_size")
        if asked is None:
            return self.page_size
        if asked.isascii() and asked.isdigit() and 1 <= int(asked[:9]) <= self.max_page_size:
            return int(asked)
        raise apikit.refuse("page_size", f"A whole number from 1 to {self.max_page_size:,}.")

    def _cursor(self) -> _Cursor | None:
        text = self.request.query_params.get("cursor")
        if text is None:
            return None
        try:
            return _Cursor(*signing.loads(text, salt=self.salt))
        except signing.BadSignature:
            raise apikit.refuse("cursor", "Not a cursor of this list. Start without one.") from None

    def _beyond(self, values: list[Any], *, descending: bool) -> Any:
        lookup = TupleLessThan if descending else TupleGreaterThan
        return lookup(Tuple(*self.names), values)

    def _values(self, row: Any) -> list[Any]:
        values = [row[n] if isinstance(row, dict) else getattr(row, n) for n in self.names]
        return [v if isinstance(v, int) else _text(v) for v in values]

    def _link(self, cursor: _Cursor | None) -> str | None:
        if cursor is None:
            return None
        url = remove_query_param(self.request.build_absolute_uri(), "cursor")
        return replace_query_param(url, "cursor", signing.dumps(cursor, salt=self.salt))

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {"next": self._link(self.after), "previous": self._link(self.before), "results": data}
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "format": "uri", "nullable": True}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        size = {"type": "integer", "minimum": 1, "maximum": self.max_page_size, "default": 100}
        return [
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "Where the page begins; taken from `next` or `previous`.",
                "schema": {"type": "string"},
            },
            {
                "name": "page_size",
                "in": "query",
                "required": False,
                "description": "Rows on a page.",
                "schema": size,
            },
        ]


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
