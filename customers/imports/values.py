"""Files of customers' values: what a chunk does when its import is checked, and when applied."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, NamedTuple

from customers import fields, spelling
from customers.fields import FieldValueError
from customers.imports import consents, layouts, options, sql, storing
from customers.imports.cells import Batch, Reader
from customers.imports.layouts import Layout
from customers.imports.options import CustomerOptions, date_reader, number_reader
from customers.imports.records import Chunk
from customers.imports.reports import GROUPS, Tally
from customers.imports.runs import Runs
from customers.imports.shapes import Given, Shape
from customers.imports.storing import Origin
from customers.imports.work import Work
from customers.models import CustomerField, FieldType, Import

_shape_of: Final = itemgetter(0)  # of what is said of a customer
_BOOLEANS: Final = ("true", "false", "yes", "no")
_WORD: Final = 61  # fields that one number has bits for
_KNOWN: Final = 1 << 61  # the bit that marks who is known already


def describe(columns: Sequence[str]) -> dict[str, Any]:
    """Say in which of three ways a file is laid out. Raises `FileError`."""
    layout = layouts.find(columns)
    wide = "wide" if layout.fields else "ids"
    return {"layout": wide if layout.name is None else "long"}


def check(run: Import) -> Work:
    """Prepare to count what a chunk would do."""
    return _work(run, _check, _conclude_check)


def apply(run: Import) -> Work:
    """Prepare to write what a chunk says onto customers."""
    return _work(run, _apply, _conclude_apply)


class _Context(NamedTuple):
    run: Import
    layout: Layout
    options: CustomerOptions
    known: Mapping[str, CustomerField]
    runs: Runs

    def read(self, chunk: Chunk) -> Batch:
        return Reader(self.layout, self.options, self.known, runs=self.runs).read(chunk)

    def without_strangers(self, chunk: Chunk, batch: Batch) -> Batch:
        """Refuse the lines about unknown customers, if none may be created."""
        if self.options.create_missing:
            return batch
        strangers = batch.customers.keys() - sql.select_owners([*batch.customers]).keys()
        if not strangers:
            return batch
        chunk = chunk.without_runs(self.runs.delimiter)
        return Reader(self.layout, self.options, self.known, strangers).read(chunk)


def _work(
    run: Import,
    handle: Callable[[_Context, Batch], Tally],
    conclude: Callable[[_Context], Tally],
) -> Work:
    layout = layouts.find(run.format["columns"])
    options = CustomerOptions.read(run.options)
    known = fields.known() | consents.known()
    runs = Runs(run.format["columns"], run.format["delimiter"], layout, options, known)
    context = _Context(run, layout, options, known, runs)
    return Work(
        lambda chunk, batch: handle(context, context.without_strangers(chunk, batch)),
        context.read,
        (run.format, options, [(each.pk, each.name, each.type) for each in known.values()]),
        runs.pattern,
        partial(conclude, context),
    )


def _check(context: _Context, batch: Batch) -> Tally:
    said = batch.customers.closed()
    bits = _Bits(context.known.values())
    sql.stage((own, bits[shape], "") for own, (shape, _) in said.items())
    sql.note_given(context.run.pk, context.run.lines_done + 1, bits.words, _KNOWN)
    return _tally(context, batch, said)


def _apply(context: _Context, batch: Batch) -> Tally:
    run, said = context.run, batch.customers.closed()
    tally = _tally(context, batch, said)
    rest: Mapping[str, Given] = said
    answers: consents.Answers = {}
    if any(map(consents.is_meant, tally.found["fields"])):
        rest, answers = consents.taken(said)
    bits = _Bits(context.known.values())
    sql.stage(
        (own, bits[all_of_it], shape.fields(cells))
        for own, (all_of_it, _), (shape, cells) in zip(
            said, said.values(), rest.values(), strict=True
        )
    )
    sql.note_given(run.pk, run.lines_done + 1, bits.words)
    stored = storing.store(rest, Origin(f"import “{run.file_name}”", run.pk))
    updated = {*stored.updated}
    if answers:
        decided_at = options.moment(context.options.decided_at)
        updated |= consents.record(run, answers, decided_at) - {*stored.created}
    if stored.created or updated:
        sql.note_touched(run.pk, run.lines_done + 1, stored.created, sorted(updated))
    tally.created, tally.updated = len(stored.created), len(updated)
    if stored.erased:
        tally.found["warnings"]["erased"] = len(stored.erased)
    return tally


def _tally(context: _Context, batch: Batch, said: Mapping[str, Given]) -> Tally:
    known, options = context.known, context.options
    given: Counter[str] = Counter()
    for shape, count in Counter(map(_shape_of, said.values())).items():
        given.update(dict.fromkeys(shape.names, count))
    unknown = Counter(dict(batch.unknown.most_common(GROUPS)))
    return Tally(
        ok=batch.lines,
        problems=batch.problems,
        found={
            "fields": given,
            "unknown_fields": unknown,
            "warnings": +Counter(repeated=batch.repeated, rounded=batch.rounded),
        },
        notes={
            "fields": {
                name: {"type": known[name].type, "example": batch.examples.get(name, "")[:100]}
                for name in given
            },
            "unknown_fields": {
                name: {
                    "suggestion": spelling.nearest(name, known),
                    "type": _guess_type(batch.strange.get(name, ""), options),
                    "example": batch.strange.get(name, "")[:100],
                }
                for name in unknown
            },
        },
    )


def _guess_type(cell: str, options: CustomerOptions) -> FieldType:
    """Name the type that a cell looks like, read in the styles of the file."""
    text = cell.strip(fields.SPACES)
    for kind, read in (
        (FieldType.NUMBER, number_reader(options.numbers)),
        (FieldType.DATETIME, date_reader(options.dates)),
    ):
        try:
            value = fields.parse_value(CustomerField(type=kind), read(text))
        except FieldValueError:
            continue
        is_code = kind == FieldType.NUMBER and re.match(r"[+-]?0[0-9]|\+|[0-9]{12}", text)
        if value is not None and not is_code:
            return kind
    return FieldType.BOOLEAN if text.lower() in _BOOLEANS else FieldType.STRING


class _Bits(dict[Shape, str]):
    """For each field of a shape a bit, of as many words as it takes, as an array.

    By them it is counted in the end how many values were given twice.
    """

    def __init__(self, known: Iterable[CustomerField]) -> None:
        self._place_of = {field.name: _place(field.pk) for field in known}
        self.words = 1 + max((word for word, _ in self._place_of.values()), default=0)

    def __missing__(self, shape: Shape) -> str:
        words = [0] * self.words
        for name in shape.names:
            word, bit = self._place_of[name]
            words[word] |= 1 << bit
        self[shape] = text = "{" + ",".join(map(str, words)) + "}"
        return text


def _place(number: int) -> tuple[int, int]:
    """Return word and bit of a field by its number; those of purposes are negative."""
    word, bit = divmod(abs(number), _WORD)
    return 2 * word + (number < 0), bit


def _conclude_check(context: _Context) -> Tally:
    repeated, known, new = sql.summarise_given(context.run.pk, _KNOWN)
    return Tally(
        found={
            "warnings": +Counter(repeated=repeated),
            "customers": +Counter(new=new, known=known),
        }
    )


def _conclude_apply(context: _Context) -> Tally:
    """Count customers once whom several chunks changed."""
    run = context.run
    repeated, _, _ = sql.summarise_given(run.pk, _KNOWN)
    return Tally(
        updated=sql.count_updated(run.pk) - run.customers_updated,
        found={"warnings": +Counter(repeated=repeated)},
    )
