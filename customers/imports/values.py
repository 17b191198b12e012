"""Files of customers' values: what a chunk does when its import is checked, and when applied."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from itertools import chain
from typing import Any, Final, NamedTuple

from customers import fields, spelling
from customers.imports import layouts, sql, storing
from customers.imports.cells import Batch, Reader
from customers.imports.layouts import Layout
from customers.imports.options import CustomerOptions
from customers.imports.records import Chunk
from customers.imports.reports import GROUPS, Tally
from customers.imports.running import Work
from customers.imports.runs import Runs
from customers.models import CustomerField, Import

_COUNTED: Final = 1  # bit of what is remembered of a customer; the others stand for fields


def describe(columns: Sequence[str]) -> dict[str, Any]:
    """Say in which of three ways a file is laid out. Raises `FileError`."""
    layout = layouts.find(columns)
    wide = "wide" if layout.fields else "ids"
    return {"layout": wide if layout.name is None else "long"}


def check(run: Import) -> Work:
    """Prepare to count what a chunk would do."""
    return _work(run, _check)


def apply(run: Import) -> Work:
    """Prepare to write what a chunk says onto customers."""
    return _work(run, _apply)


class _Context(NamedTuple):
    run: Import
    layout: Layout
    options: CustomerOptions
    known: Mapping[str, CustomerField]
    runs: Runs

    def read(self, chunk: Chunk) -> Batch:
        reader = Reader(self.layout, self.options, self.known, runs=self.runs)
        batch = reader.read(chunk)
        if self.options.create_missing:
            return batch
        strangers = batch.customers.keys() - sql.select_owners([*batch.customers]).keys()
        if not strangers:
            return batch
        chunk = chunk.without_runs(self.runs.delimiter)
        return Reader(self.layout, self.options, self.known, strangers).read(chunk)


def _work(run: Import, handle: Callable[[_Context, Chunk], Tally]) -> Work:
    layout = layouts.find(run.format["columns"])
    options = CustomerOptions.read(run.options)
    known = fields.known()
    runs = Runs(run.format["columns"], run.format["delimiter"], layout, options, known)
    context = _Context(run, layout, options, known, runs)
    return Work(partial(handle, context), runs.pattern)


def _check(context: _Context, chunk: Chunk) -> Tally:
    run, known, batch = context.run, context.known, context.read(chunk)
    owners = sql.select_owners([*batch.customers])
    tally = _tally(batch, known)
    fresh = _remember(run, batch, known, batch.customers, tally)
    tally.found["customers"] = Counter("known" if each in owners else "new" for each in fresh)
    return tally


def _apply(context: _Context, chunk: Chunk) -> Tally:
    run, known, batch = context.run, context.known, context.read(chunk)
    stored = storing.store(batch.customers, source=f"import “{run.file_name}”")
    tally = _tally(batch, known)
    fresh = _remember(run, batch, known, stored.created | stored.updated, tally)
    tally.created = len(stored.created)
    tally.updated = len(fresh - stored.created)
    return tally


def _tally(batch: Batch, known: Mapping[str, CustomerField]) -> Tally:
    given = Counter(chain.from_iterable(batch.customers.values()))
    unknown = Counter(dict(batch.unknown.most_common(GROUPS)))
    return Tally(
        ok=batch.lines,
        problems=batch.problems,
        found={"fields": given, "unknown_fields": unknown},
        notes={
            "fields": {
                name: {"type": known[name].type, "example": batch.examples.get(name, "")[:100]}
                for name in given
            },
            "unknown_fields": {
                name: {"suggestion": spelling.nearest(name, known)} for name in unknown
            },
        },
    )


def _remember(
    run: Import,
    batch: Batch,
    known: Mapping[str, CustomerField],
    counted: Collection[str],
    tally: Tally,
) -> set[str]:
    """Note which customers and fields were given; return those of `counted` who were not before.

    Adds to the tally how many values were given again.
    """
    key_of = {customer_id: _hash(customer_id) for customer_id in batch.customers}
    seen = sql.select_seen(run.pk, [*key_of.values()])
    bit_of = {name: 1 << field.pk for name, field in known.items()}
    repeated = batch.repeated
    now = {}
    fresh = set()
    for customer_id, values in batch.customers.items():
        before = seen.get(key_of[customer_id], 0)
        bits = sum(map(bit_of.__getitem__, values))
        repeated += (before & bits).bit_count()
        if customer_id in counted and not before & _COUNTED:
            fresh.add(customer_id)
            bits |= _COUNTED
        now[key_of[customer_id]] = before | bits
    sql.remember_seen(run.pk, now)
    if repeated:
        tally.found["warnings"] = Counter(repeated=repeated)
    return fresh


def _hash(customer_id: str) -> int:
    return int.from_bytes(blake2b(customer_id.encode(), digest_size=8).digest(), signed=True)
