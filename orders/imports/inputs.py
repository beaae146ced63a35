"""From the rows of one order to its OrderOfFile, or to the faults that keep it out, each on its
line. No row is read or written here.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from django.conf import settings
from pydantic import ValidationError

from orders.imports.elsewhere.order_of_file import OrderOfFile
from orders.imports.files.columns import (
    AMOUNTS,
    COUNTS,
    JSON,
    LISTS,
    OF_THE_LINE,
    OF_THE_ORDER,
    column_at,
)
from orders.imports.files.csv_rows import IN_MAJOR, WHOLE_NUMBER, key_of
from orders.imports.files.lines import Row
from orders.imports.files.reading import Format
from orders.inputs.faults import pointed
from orders.inputs.order import LINES_MAX
from values import money, strict_json
from values.refused import Refused, Sentence, kept_of, restored
from values.strict_json import NotJson

LINE_POINTER = re.compile(r"/lines/([0-9]+)(?:/(.+))?")
FIELD_MAX_CHARS = 200
REASON_MAX_CHARS = 500
NEEDS_A_NAME = Sentence("an imported order needs one, so that it comes once")


class Keyed(Protocol):
    """A row, or the place of one: those with one key make one order."""

    @property
    def key(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an order, and on which line of the file."""

    line_number: int
    # a column of the CSV, or a JSON pointer into the line's body; empty for the whole row
    field: str
    reason: str


class NotAnOrder(Exception):
    """These rows make no order."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.reason for fault in faults))
        self.faults = faults[: settings.IMPORT_FAULTS_PER_ORDER]


def orders_in[R: Keyed](rows: Iterable[R]) -> Iterator[list[R]]:
    """The rows of each order, in the order of the file: those with one key are together, where the
    first of them stands.
    """
    firsts: dict[str, int] = {}

    placed: list[tuple[int, R]] = []  # each row behind the position of its order's first one
    for position, row in enumerate(rows):
        first = position if row.key is None else firsts.setdefault(row.key, position)
        placed.append((first, row))
    placed.sort(key=itemgetter(0))
    for _, of_order in groupby(placed, key=itemgetter(0)):
        yield [row for _, row in of_order]


def name_of(rows: Sequence[Row], form: Format) -> str | None:
    """The external_id of the order of these rows; None where the file does not tell. An NDJSON row
    is an order by itself.
    """
    if form == Format.CSV:
        return rows[0].key
    try:
        body = _parsed(rows[0])
    except NotAnOrder:
        return None
    external_id = body.get("external_id") if isinstance(body, dict) else None
    return key_of(external_id) if isinstance(external_id, str) else None


def input_of(rows: Sequence[Row], form: Format, *, quiet: bool = False) -> OrderOfFile:
    """The order of these rows. Raises NotAnOrder with what is wrong, each on its line."""
    if len(rows) > LINES_MAX:  # whose parsing alone may take more memory than a dyno has
        text = "has %(lines)s lines; an order may have %(most)s"
        too_many = Sentence(text, lines=len(rows), most=LINES_MAX)
        raise NotAnOrder(Fault(rows[0].line_number, "", too_many))
    unreadable = [Fault(row.line_number, "", row.fault) for row in rows if row.fault]
    if unreadable:
        raise NotAnOrder(*unreadable)
    body = _csv_body(rows) if form == Format.CSV else _parsed(rows[0])
    try:
        order_input = OrderOfFile.model_validate(body)
    except ValidationError as exc:
        errors = [pointed(dict(error), skip=0) for error in exc.errors()]
        raise NotAnOrder(*located(rows, form, errors)) from exc
    if not order_input.external_id:
        raise NotAnOrder(*located(rows, form, [("/external_id", NEEDS_A_NAME)]))
    if wrong := list(order_input.objections(quiet=quiet)):
        raise NotAnOrder(*located(rows, form, wrong))
    return order_input


def refusal_of(rows: Sequence[Row], form: Format, refused: Refused) -> NotAnOrder:
    """Why the shop refused the order of these rows, on the lines where it stands."""
    return NotAnOrder(*located(rows, form, refused.errors or [("", refused.detail)]))


def located(rows: Sequence[Row], form: Format, errors: Iterable[tuple[str, str]]) -> list[Fault]:
    """Pairs of JSON pointer and message as faults on lines of the file; in a CSV, each line of the
    order is a row of its own.
    """
    faults = []
    for pointer, message in errors:
        line_number, field = rows[0].line_number, pointer
        if form == Format.CSV:
            line_number, field = _cell(rows, pointer)
        faults.append(Fault(line_number, field[:FIELD_MAX_CHARS], bounded(message)))
    return faults


def bounded(message: str) -> str:
    """As much of a message, and of its values, as is kept."""
    kept = kept_of(message, settings.IMPORT_VALUE_MAX_CHARS)
    return restored(message[:REASON_MAX_CHARS], kept)


def _parsed(row: Row) -> Any:
    try:
        return strict_json.parse(row.text.encode())
    except NotJson as exc:
        field = exc.pointer[:FIELD_MAX_CHARS]
        raise NotAnOrder(Fault(row.line_number, field, bounded(exc.sentence))) from exc


# --- CSV: a row is a line, and the order stands in each of its rows -------------------------------


def _csv_body(rows: Sequence[Row]) -> dict[str, Any]:
    cells = [_csv_cells(row) for row in rows]
    head = cells[0]
    faults = [*_disagreements(rows, cells)]
    values = Values(head["currency"], faults)
    body: dict[str, Any] = {"external_id": head["external_id"] or None}
    for column, (*way, name) in OF_THE_ORDER.items():
        if head.get(column):
            inner = body
            for step in way:
                inner = inner.setdefault(step, {})
            inner[name] = values.read(rows[0], head, column)
    body["lines"] = [
        {name: values.read(row, row_cells, name) for name in OF_THE_LINE if row_cells.get(name)}
        for row, row_cells in zip(rows, cells, strict=True)
    ]
    if faults:
        raise NotAnOrder(*faults)
    return body


def _csv_cells(row: Row) -> dict[str, str]:
    try:
        cells: dict[str, str] = strict_json.parse(row.text.encode())
    except NotJson as exc:
        column = exc.pointer.removeprefix("/")
        raise NotAnOrder(Fault(row.line_number, column, exc.message)) from exc
    return cells


def _disagreements(rows: Sequence[Row], cells: Sequence[dict[str, str]]) -> Iterator[Fault]:
    """Each cell of a further row that says of the order what its first row does not; a blank one
    says nothing.
    """
    first, head = rows[0], cells[0]
    text = "is not what line %(line)s says of the same order"
    for row, row_cells in zip(rows[1:], cells[1:], strict=True):
        for column in OF_THE_ORDER:
            if row_cells.get(column) and row_cells[column] != head.get(column):
                other = Sentence(text, line=first.line_number)
                yield Fault(row.line_number, column, other)


class Values:
    """The values of an order's cells; a cell that cannot be read is added to these faults."""

    def __init__(self, currency: str, faults: list[Fault]) -> None:
        self._currency = currency
        self._faults = faults

    def read(self, row: Row, cells: dict[str, str], column: str) -> Any:
        cell = cells[column]
        try:
            if column in AMOUNTS or column in COUNTS:
                return self._number(cell)
            if column in JSON or (column in LISTS and cell.startswith("[")):
                return strict_json.parse(cell.encode())
            return [tag.strip() for tag in cell.split(",")] if column in LISTS else cell
        except NotJson:
            reason: str = Sentence("must be JSON")
        except ValueError as exc:
            reason = exc.args[0]
        self._faults.append(Fault(row.line_number, column, bounded(reason)))
        return None

    def _number(self, cell: str) -> int:
        if cell.endswith(IN_MAJOR):
            return money.read(cell.removesuffix(IN_MAJOR), self._currency)
        if WHOLE_NUMBER.fullmatch(cell):
            return int(cell)
        raise ValueError(Sentence("must be a whole number"))


def _cell(rows: Sequence[Row], pointer: str) -> tuple[int, str]:
    """The line of the file and the column to which a pointer into the order leads."""
    if (found := LINE_POINTER.fullmatch(pointer)) and int(found[1]) < len(rows):
        return rows[int(found[1])].line_number, found[2] or ""
    return rows[0].line_number, column_at(pointer)
