"""The suppression list: search it, add addresses by hand or by file, take one out."""

import csv
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST

from customers import adminkit, formats, identity, masking, suppression
from customers.models import Suppression, SuppressionRemoval

ROWS = 50  # on a page
MAX_FILE = 20 * 1024 * 1024  # bytes


def show(request: HttpRequest) -> HttpResponse:
    """The page with the newest addresses, or those that were searched for."""
    if not request.user.has_perm("customers.view_suppression"):
        raise PermissionDenied
    asked = request.GET.get("q", "").strip().replace("\0", "")
    rows: list[Any] = [*_found(asked, request.GET.get("after", ""))[: ROWS + 1]]
    mask = masking.current()
    for row in rows:
        row.shown = "Address of an erased person" if _is_hash(row) else row.value
        row.shown = mask.identifier(row.kind, row.shown) if not _is_hash(row) else row.shown
    last = rows[ROWS - 1] if len(rows) > ROWS else None
    context = {
        "rows": rows[:ROWS],
        "after": f"{last.at.isoformat()}~{last.kind}~{last.value}" if last else "",
        "asked": asked,
        "count": adminkit.count_rows(Suppression),
        "kinds": Suppression.Kind.choices,
        "removals": _removals(asked) if asked else [],
        "may_add": request.user.has_perm("customers.add_suppression"),
        "may_remove": request.user.has_perm("customers.delete_suppression"),
    }
    return adminkit.page(request, "customers/suppressions.html", context, title="Suppression list")


def _is_hash(row: Suppression) -> bool:
    return row.value.startswith(suppression.HASHED)


def _found(asked: str, after: str) -> QuerySet[Suppression]:
    found = Suppression.objects.order_by("-at", "-kind", "-value")
    if asked:
        return found.filter(value__in=suppression.spellings(asked))
    at, _, rest = after.partition("~")
    kind, _, value = rest.partition("~")
    moment = _moment(at)
    if moment is None:
        return found
    return found.filter(TupleLessThan(Tuple("at", "kind", "value"), [moment, kind, value]))


def _removals(asked: str) -> QuerySet[SuppressionRemoval]:
    """The last times that an address was taken off the list."""
    return SuppressionRemoval.objects.filter(value__in=suppression.spellings(asked))[:10]


def _moment(text: str) -> Any:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """Suppress what was typed and what stands in the file; say what became of it."""
    if not request.user.has_perm("customers.add_suppression"):
        raise PermissionDenied
    kind = request.POST.get("kind", "")
    file = request.FILES.get("file")
    if kind not in Suppression.Kind.values or (file and file.size and file.size > MAX_FILE):
        messages.error(request, "Choose e-mail or phone, and a file of at most 20 MB.")
        return _back()
    text = request.POST.get("values", "") + "\n" + (_decoded(file.read()) if file else "")
    given = [*_addresses(kind, text)]
    source = f"file “{file.name}”, {adminkit.actor(request)}" if file else adminkit.actor(request)
    wanted = [normal for value in given if (normal := identity.normalise(kind, value))]
    added = suppression.add(kind, wanted, Suppression.Reason.MANUAL, source)
    _tell(request, added, len({*wanted}) - added, len(given) - len(wanted))
    return _back()


def _tell(request: HttpRequest, added: int, known: int, wrong: int) -> None:
    number = formats.number
    parts = [f"{number(added)} added" if added else "Nothing added"]
    parts += [f"{number(known)} on the list already"] if known > 0 else []
    parts += [f"{number(wrong)} left out: no address of this kind"] if wrong else []
    (messages.success if added else messages.warning)(request, ", ".join(parts) + ".")


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _addresses(kind: str, text: str) -> Iterator[str]:
    """Yield of each line the first cell that is an address, else the line itself; no headings."""
    first = True
    for line in text.replace("\0", "").splitlines():
        if not line.strip():
            continue
        delimiter = next((mark for mark in ";\t," if mark in line), ",")
        cells = next(csv.reader([line], delimiter=delimiter), [])
        address = next((cell for cell in cells if identity.normalise(kind, cell)), None)
        if address is not None or not first:
            yield address or line
        first = first and address is None and not any(mark in line for mark in "@+0123456789")


@require_POST
def remove(request: HttpRequest) -> HttpResponse:
    """Take one address out of the list."""
    if not request.user.has_perm("customers.delete_suppression"):
        raise PermissionDenied
    removed = suppression.remove(
        request.POST.get("kind", ""), [request.POST.get("value", "")], adminkit.actor(request)
    )
    if removed:
        messages.success(request, "It may be written to again, if its owner agrees.")
    return _back()


def _back() -> HttpResponse:
    return adminkit.redirect(reverse("admin:customers_suppressions"))
