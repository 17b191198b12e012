"""What the admin pages of every floor share."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.core.paginator import Paginator
from django.db import models
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from customers import formats
from customers.sql import lists

Row = TypeVar("Row", bound=models.Model)

COUNTED_UP_TO = 100_000  # rows; above, the planner's estimate has to do
PAGE_SIZE = 50


class Button(NamedTuple):
    """A link in the header of a page, that looks like a button."""

    text: str
    href: str
    icon: str
    is_primary: bool = False
    is_minor: bool = False  # an icon only; on phones a line of a menu


class Use(NamedTuple):
    """Something that relies on what is shown, with its page; `acts` if it tells the world."""

    text: str
    href: str
    icon: str = ""
    acts: bool = False


class Crumb(NamedTuple):
    """A step on the way to a page, as its header shows it; the page itself leads nowhere."""

    text: str
    href: str = ""


class Empty(NamedTuple):
    """What a list says while it has no rows: what it is for, and an example."""

    icon: str
    title: str
    text: str


class ProductAdmin(ModelAdmin):
    """The house's ModelAdmin: no second count, row click, warnings before edits are lost."""

    empty = Empty("inbox", "Nothing here yet", "")
    add_text = "Add"
    empty_value_display = "–"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they would count every row for every filter
    show_add_link = False  # ours says what it adds
    list_per_page = PAGE_SIZE
    warn_unsaved_form = True
    compressed_fields = True
    list_filter_sheet = True

    def header_buttons(self, request: HttpRequest) -> list[Button]:
        """Return the buttons above the list: two at most, or the header breaks on phones."""
        if not self.has_add_permission(request):
            return []
        opts = self.opts
        href = reverse(f"admin:{opts.app_label}_{opts.model_name}_add")
        return [Button(self.add_text, href, "add", is_primary=True)]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Have the list know its buttons: an empty one offers the first of them once more."""
        shown = super().get_changelist_instance(request)
        shown.header_buttons = self.header_buttons(request)
        shown.minor_buttons = [button for button in shown.header_buttons if button.is_minor]
        return shown

    def render_change_form(self, request: HttpRequest, context: Any, **options: Any) -> Any:
        """Leave one button to save with, instead of three."""
        context |= {"show_save_and_continue": False, "show_save_and_add_another": False}
        original = context.get("original")
        note_way(request, _act(context["title"], original), self.model, original)
        return super().render_change_form(request, context, **options)


class ReadOnlyAdmin(ProductAdmin):
    """For rows that only the product writes: people look, nobody edits."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


class UncountedPaginator(InfinitePaginator):
    """Previous and next only: the rows are never counted."""


class BoundedPaginator(Paginator):
    """Counts up to COUNTED_UP_TO rows and no further: nobody pages through more."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if isinstance(rows, QuerySet):
            return rows.order_by()[:COUNTED_UP_TO].count()
        return super().count


def estimated_rows(model: type[models.Model]) -> int:
    """Return about how many rows a table has, without reading it; 0 before its first analyze."""
    return lists.estimate_rows(model._meta.db_table)


def count_rows(model: type[models.Model]) -> int:
    """Count a table exactly while that is cheap, and estimate it above COUNTED_UP_TO."""
    estimate = estimated_rows(model)
    return estimate if estimate > COUNTED_UP_TO else model._default_manager.count()


class AtMost(int):
    """A count that went a little further than `EXACT`, and is written with a plus then."""

    EXACT = 10_000

    def __str__(self) -> str:
        is_more = self > self.EXACT
        return f"{formats.number(min(int(self), self.EXACT))}{'+' if is_more else ''}"


def at_most(rows: "QuerySet[Any]") -> AtMost:
    """Count rows, but no further than anybody wants to know exactly."""
    return AtMost(rows.order_by()[: AtMost.EXACT + 1].count())


def customer_url(customer_id: int) -> str:
    """Return the address of a customer's profile."""
    return f"{reverse('admin:customers_customer_changelist')}{customer_id}/"


def row_or_404(model: type[Row], object_id: str) -> Row:
    """Return the row that an address of the admin names; raises `Http404`."""
    try:
        return get_object_or_404(model, pk=int(unquote(object_id)))
    except ValueError:
        raise Http404 from None


def redirect(href: str) -> HttpResponse:
    return HttpResponseRedirect(href)


def actor(request: HttpRequest) -> str:
    """Name the user for the provenance of what they do."""
    user: Any = request.user
    return str(user.get_full_name() or user.get_username())


def log(request: HttpRequest, row: models.Model, text: str = "", *, is_new: bool = False) -> None:
    """Note in the admin's log who has made or changed something on a page of ours."""
    user: Any = request.user
    LogEntry.objects.log_actions(
        user.pk, [row], ADDITION if is_new else CHANGE, change_message=text, single_object=True
    )


def page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    *,
    title: str,
    model: type[models.Model] | None = None,
    original: models.Model | None = None,
) -> HttpResponse:
    """Render a page of ours with the admin's sidebar and header.

    `model` puts its list into the breadcrumb, `original` that row after it; `template` extends
    components/page.html. Wrap the view in `admin.site.admin_view` and check permissions yourself.
    """
    note_way(request, title, model, original)
    everything = {
        **admin.site.each_context(request),
        "title": title,
        "opts": model._meta if model else None,
        "original": original,
        **context,
    }
    request.current_app = admin.site.name
    return TemplateResponse(request, template, everything)


def note_way(
    request: HttpRequest,
    title: str,
    model: type[models.Model] | None = None,
    original: models.Model | None = None,
) -> None:
    """Leave for the header the way to a page: its list, its row, and what one does there."""
    way = []
    shown = original or model
    if shown is not None:
        way.append(Crumb(_capital(shown._meta.verbose_name_plural), _url_of(shown, "changelist")))
    if original is not None:
        way.append(Crumb(str(original), row_url(original)))
    if not way or title not in (way[-1].text, str(original)):
        way.append(Crumb(title))
    request.cdp_way = way  # type: ignore[attr-defined]


def _act(title: object, original: models.Model | None) -> str:
    """Name what a form does: to edit is apart only from a page that shows."""
    if original is None:
        return str(title)
    return str(original) if row_url(original).endswith("/change/") else "Edit"


def row_url(row: models.Model) -> str:
    """Return the address of the page that shows a row, or else of the form that edits it."""
    pages = (_url_of(row, name, row.pk) for name in ("profile", "page", "change"))
    return next(filter(None, pages), "")


def _url_of(row: models.Model | type[models.Model], page: str, *args: object) -> str:
    try:
        return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=args)
    except NoReverseMatch:
        return ""


def _capital(text: object) -> str:
    return str(text)[:1].upper() + str(text)[1:]


def stacked(first: object, second: object = "") -> SafeString:
    """A cell of two lines, the second small and grey."""
    return format_html(
        '<span class="cdp-cell"><span class="cdp-strong">{}</span>'
        '<span class="cdp-small cdp-muted" style="display:block">{}</span></span>',
        first,
        second,
    )


def badge(text: object, tone: str = "", icon: str = "") -> SafeString:
    """A small label. `tone` is one of accent, good, warn, bad, or nothing."""
    mark = (
        format_html(
            '<span class="material-symbols-outlined cdp-icon" aria-hidden="true">{}</span>', icon
        )
        if icon
        else ""
    )
    return format_html(
        '<span class="cdp-badge{}">{}{}</span>', f" cdp-badge-{tone}" if tone else "", mark, text
    )


def who(customer: Any, note: object = "") -> SafeString:
    """A customer as avatar, name, and a small line below."""
    return render_to_string("components/who.html", {"customer": customer, "note": note})


def copyable(text: str, what: str) -> SafeString:
    """A text with a button that copies it; `what` names it for those who cannot see it."""
    return render_to_string("components/copy.html", {"text": text, "what": what})


def preformatted(text: str) -> SafeString:
    """A text with its line breaks, such as an error."""
    return format_html('<pre class="cdp-pre">{}</pre>', text)


def share(count: int, percent: int) -> SafeString:
    """A count with a bar that shows its share of the whole, 0 to 100."""
    return render_to_string("components/share.html", {"count": count, "percent": percent})


def badges(texts: list[str]) -> SafeString:
    return format_html_join(" ", '<span class="cdp-badge">{}</span>', ((text,) for text in texts))


def link(href: str, text: object) -> SafeString:
    return format_html('<a href="{}" class="cdp-link">{}</a>', href, text)


def links(uses: Iterable[Use]) -> SafeString:
    return format_html_join(
        ", ", '<a href="{}" class="cdp-link">{}</a>', ((use.href, use.text) for use in uses)
    )


def when(value: Any) -> SafeString | str:
    """A time as people say it, with the exact one on hover."""
    if value is None:
        return "–"
    return format_html(
        '<time datetime="{}" title="{}" class="cdp-nowrap">{}</time>',
        value.isoformat(),
        formats.moment(value),
        formats.ago(value),
    )
