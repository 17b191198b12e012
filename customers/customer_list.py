"""The list of customers in the admin: its filters, its columns, and pages behind a customer."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db import DatabaseError, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils.http import urlencode

from customers import (
    adminkit,
    clock,
    columns,
    fields,
    filters,
    finding,
    forms,
    indexing,
    masking,
    paging,
)
from customers.adminkit import UncountedPaginator
from customers.filters import Filter
from customers.models import Customer, CustomerField, FieldType
from customers.paging import Order
from customers.sql import lists

PAGE_SIZE = 30
AFTER, BEFORE, ORDER, OP = "after", "before", "o", "op."
MILLISECONDS = 3_000  # that a page of the list may take
COUNT_MILLISECONDS = 700  # that counting may take before the planner's word is taken


class Chip(NamedTuple):
    """A filter in words, and the address of the list without it."""

    text: str
    href: str


def known(request: HttpRequest) -> dict[str, CustomerField]:
    """The fields that whoever looks may see, asked for once in a request."""
    found: dict[str, CustomerField] | None = getattr(request, "cdp_fields", None)
    if found is None:
        mask = masking.current()
        found = {name: field for name, field in fields.known().items() if not mask.hides(name)}
        request.cdp_fields = found  # type: ignore[attr-defined]
    return found


def tidied(sent: QueryDict) -> str | None:
    """Return the address that says what a sent form of filters means; None if it needs no change.

    The form sends every control; an operator apart, as op.NAME, belongs to field.NAME.
    """
    pairs = [(key, value) for key in sent for value in sent.getlist(key)]
    if not any(key.startswith(OP) or not value.strip() for key, value in pairs):
        return None
    ops = {key.removeprefix(OP): value for key, value in pairs if key.startswith(OP)}
    kept = [_joined(key, value, ops) for key, value in pairs if _says_something(key, value)]
    kept += [
        (f"{filters.PREFIX}{name}[{op}]", "true")
        for name, op in ops.items()
        if op in ("exists", "missing")
    ]
    return "?" + urlencode([pair for pair in kept if pair])


def _says_something(key: str, value: str) -> bool:
    return bool(value.strip()) and not key.startswith(OP) and key not in (AFTER, BEFORE)


def _joined(key: str, value: str, ops: Mapping[str, str]) -> tuple[str, str] | None:
    name = key.removeprefix(filters.PREFIX)
    op = ops.get(name, "") if key.startswith(filters.PREFIX) else ""
    if op in ("exists", "missing"):
        return None
    return (f"{key}[{op}]", value) if op and op != "is" else (key, value)


class FieldFilter(admin.ListFilter):
    """The controls for one field, in the sheet of filters."""

    template = "customers/filter_field.html"
    field: CustomerField
    title = ""

    def __init__(
        self, request: HttpRequest, params: Any, model: type[Model], model_admin: Any
    ) -> None:
        self.title = str(self.field)
        super().__init__(request, params, model, model_admin)
        mine = _given(request, known(request))
        self.given = {one.op: one for one in mine if one.field.name == self.field.name}
        self.used_parameters = {one.parameter: one.value for one in self.given.values()}
        self.names = {op: f"{filters.PREFIX}{self.field.name}[{op}]" for op in _RANGE}

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Customer]) -> QuerySet[Customer]:
        return queryset  # all filters on fields are applied together

    def choices(self, changelist: Any) -> Iterator[Any]:
        return iter(())

    @property
    def op(self) -> str:
        return next(iter(self.given), "")

    @property
    def text(self) -> str:
        return next((_written(one) for one in self.given.values()), "")

    @property
    def ops(self) -> list[tuple[str, str]]:
        """The operators to choose from, with their words."""
        if self.field.type == FieldType.STRING:
            return _TEXT_OPS
        return [("exists", "has a value"), ("missing", "has no value")]

    @property
    def ranges(self) -> list[tuple[str, str, str]]:
        """(name, label, value) of the controls for the ends of a range, and of a span."""
        ops = _NUMBERS if self.field.type == FieldType.NUMBER else _DATES
        return [
            (self.names[op], label, _written(self.given[op]) if op in self.given else "")
            for op, label in ops
        ]


_NUMBERS = (("at_least", "from"), ("at_most", "to"))
_DATES = (("from", "from"), ("to", "until"), ("in_last", "in the last … days"))
_RANGE = tuple(op for op, _ in (*_NUMBERS, *_DATES))
_TEXT_OPS = [
    ("contains", "contains"),
    ("is", "is"),
    ("one_of", "is one of (a, b, c)"),
    ("starts_with", "begins with"),
    ("is_not", "is not"),
    ("not_contains", "does not contain"),
    ("exists", "has a value"),
    ("missing", "has no value"),
]


def _written(one: Filter) -> str:
    if isinstance(one.value, tuple):
        return ", ".join(map(filters.value_for_page, one.value))
    if one.value is None:
        return ""
    if one.op in ("from", "to"):
        return f"{one.value:%Y-%m-%d}" if one.value.tzinfo is None else _local_day(one)
    return filters.value_for_page(one.value)


def _local_day(one: Filter) -> str:
    return f"{forms.local(one.value):%Y-%m-%d}"


def field_filters(request: HttpRequest) -> list[type[FieldFilter]]:
    """Make a filter for each field that stands among them or is in use, and for when seen."""
    used = {one.field.name for one in _given(request, known(request))}
    shown = [
        field
        for field in columns.in_order(known(request).values())
        if field.in_filters or field.name in used
    ]
    return [
        type("FieldFilter", (FieldFilter,), {"field": field})
        for field in (*shown, *filters.BUILT_INS.values())
    ]


def _given(request: HttpRequest, fields_by_name: Mapping[str, CustomerField]) -> list[Filter]:
    return filters.read(request.GET.items(), fields_by_name)[0]


class CustomerChangeList(ChangeList):
    """A row opens the profile, not the form; a page begins behind a customer."""

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self.known = known(request)
        self.filters, self.problems = filters.read(request.GET.items(), self.known)
        self.is_large = adminkit.estimated_rows(Customer) > adminkit.COUNTED_UP_TO
        super().__init__(request, *args)
        self.has_active_filters = bool(self.has_active_filters or self.filters or self.problems)
        self.chips = [self._chip(one) for one in self.filters]

    def url_for_result(self, result: Model) -> str:
        return adminkit.customer_url(result.pk)

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        """Leave what is not looked up in columns to us."""
        given: dict[str, Any] = super().get_filters_params(params)
        own = (AFTER, BEFORE)
        return {k: v for k, v in given.items() if not (k in own or k.startswith(filters.PREFIX))}

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> Any:
        found = super().get_queryset(request, exclude_parameters)
        for problem in self.problems:
            messages.error(request, f"{problem.parameter[:80]}: {problem}")
        if self.problems:
            return found.none()
        if not self.filters:
            return found
        return finding.apply(found, self.filters, clock.now(), is_large=self.is_large)

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        self.order = self._order()
        return []  # the page sorts

    def _order(self) -> Order:
        sign, place = "", ""
        if text := str(self.params.get(ORDER, "")).split(".")[0]:
            sign, place = ("-", text[1:]) if text.startswith("-") else ("", text)
        if place.isdecimal() and int(place[:4]) < len(self.list_display):
            column = self.list_display[int(place[:4])]
            if isinstance(column, columns.Column):
                return paging.by_field(column.field, is_descending=bool(sign))
        return paging.LAST_ADDED if self.is_large else paging.LAST_SEEN

    def get_results(self, request: HttpRequest) -> None:
        started = time.monotonic()
        page = self._page(request)
        if self.is_large and time.monotonic() - started > indexing.SLOW:
            by_parts = [one.field for one in self.filters if one.op in filters.PARTS_OPS]
            indexing.note_slow(self._indexable(), by_parts)
        rows = page.rows
        self.result_list = rows
        self.result_count = len(rows)
        self.full_result_count = None
        self.show_full_result_count = self.show_admin_actions = False
        self.show_all = self.can_show_all = self.multi_page = False
        self.is_whole = not (page.has_before or page.has_after)
        self.older = self._link(AFTER, rows[-1].pk) if rows and page.has_after else ""
        self.newer = self._link(BEFORE, rows[0].pk) if rows and page.has_before else ""
        paginator = UncountedPaginator(rows, PAGE_SIZE)
        paginator.template_name = "customers/paging.html"
        self.paginator = paginator

    def _page(self, request: HttpRequest) -> paging.Page:
        after, before = (_id(self.params.get(name)) for name in (AFTER, BEFORE))
        try:
            with transaction.atomic():
                if self.is_large:
                    lists.limit_time(MILLISECONDS)
                return paging.take(self.queryset, self.order, PAGE_SIZE, after=after, before=before)
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", "") != "57014":  # query_canceled
                raise
            messages.warning(
                request,
                "Looking through all customers took too long. Filter by one more field, or try "
                "again in some minutes: what can be made faster is being prepared.",
            )
            return paging.Page([], has_before=False, has_after=False)

    def _indexable(self) -> list[CustomerField]:
        """Fields that an index would have helped with."""
        used = [one.field for one in self.filters if one.op not in _WITHOUT_INDEX]
        return [*used, self.order.field] if self.order.field else used

    def _link(self, name: str, customer_id: int) -> str:
        return str(self.get_query_string({name: customer_id}, [AFTER, BEFORE]))

    def _chip(self, one: Filter) -> Chip:
        left = {
            name: values
            for name, values in self.filter_params.items()
            if name not in (one.parameter, AFTER, BEFORE)
        }
        return Chip(filters.sentence(one, forms.display), "?" + urlencode(left, doseq=True))

    def count(self) -> tuple[int, bool]:
        """Count the customers that fit: (number, whether that is exact)."""
        if self.is_large and not (self.has_active_filters or self.query):
            return adminkit.estimated_rows(Customer), False
        try:
            with transaction.atomic():
                lists.limit_time(COUNT_MILLISECONDS)
                return self.queryset.order_by().count(), True
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", "") != "57014":  # query_canceled
                raise
        return lists.planned_rows(self.queryset.order_by()), False


_WITHOUT_INDEX = ("contains", "not_contains", "ends_with", "is_not", "none_of")


def _id(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 19 else None
