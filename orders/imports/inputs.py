"""From the rows of one order to its order_input, or to the faults that stand on them. No row is
read or written here.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
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
from orders.imports.files.reading import Format
from orders.inputs.faults import pointed
from orders.inputs.order import LINES_MAX
from values import money, strict_json
from values.refused import Refused, Sentence, kept_of, said_again
from values.strict_json import NotJson

LINE_POINTER = re.compile(r"/lines/([0-9]+)(?:/(.+))?")
FIELD_MAX_CHARS = 200
REASON_MAX_CHARS = 500
NEEDS_A_NAME = Sentence("an imported order needs one, so that it comes once")


class Keyed(Protocol):
    """A row, or its place, of which the key says whose it is."""

    @property
    def key(self) -> str | None: ...


class StagedRow(Keyed, Protocol):
    """What an OrderInput is made of; `orders.imports.models.ImportRow` is one."""

    @property
    def line(self) -> int: ...
    @property
    def said(self) -> str: ...
    @property
    def fault(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Fault:
    line: int
    # a column of the CSV, or a JSON pointer into the line's body; empty for the whole row
    field: str
    reason: str


class NotAnOrder(Exception):
    """These rows make no order."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.reason for fault in faults))
        self.faults = faults[: settings.IMPORT_FAULTS_PER_ORDER]


def orders_in[R: Keyed](rows: Iterable[R]) -> Iterator[list[R]]:
    """Rows in the order of their file as orders: those with one key together, where the first of
    them stands.
    """
    firsts: dict[str, int] = {}

    def place(numbered: tuple[int, R]) -> int:
        index, row = numbered
        return index if row.key is None else firsts.setdefault(row.key, index)

    places = [(place(numbered), numbered[1]) for numbered in enumerate(rows)]
    places.sort(key=lambda placed: placed[0])
    for _, placed in groupby(places, key=lambda placed: placed[0]):
        yield [row for _, row in placed]


def name_of(rows: Sequence[StagedRow], form: Format) -> str | None:
    """The external_id of the order of these rows, as far as the file says; an NDJSON row is one
    order by itself.
    """
    if form == Format.CSV:
        return rows[0].key
    try:
        body = _parsed(rows[0])
    except NotAnOrder:
        return None
    external_id = body.get("external_id") if isinstance(body, dict) else None
    return key_of(external_id) if isinstance(external_id, str) else None


def input_of(rows: Sequence[StagedRow], form: Format, *, quiet: bool = False) -> OrderOfFile:
    """Raises NotAnOrder with what is wrong, on the line where it stands."""
    if len(rows) > LINES_MAX:  # whose parsing alone may take more memory than a dyno has
        said = "has %(lines)s lines; an order may have %(most)s"
        too_many = Sentence(said, lines=len(rows), most=LINES_MAX)
        raise NotAnOrder(Fault(rows[0].line, "", too_many))
    unreadable = [Fault(row.line, "", row.fault) for row in rows if row.fault]
    if unreadable:
        raise NotAnOrder(*unreadable)
    body = _csv_body(rows) if form == Format.CSV else _parsed(rows[0])
    try:
        order_input = OrderOfFile.model_validate(body)
    except ValidationError as exc:
        raise NotAnOrder(
            *located(rows, form, [pointed(dict(error), skip=0) for error in exc.errors()])
        ) from exc
    if not order_input.external_id:
        raise NotAnOrder(*located(rows, form, [("/external_id", NEEDS_A_NAME)]))
    if wrong := list(order_input.objections(quiet=quiet)):
        raise NotAnOrder(*located(rows, form, wrong))
    return order_input


def problem_of(rows: Sequence[StagedRow], form: Format, problem: Refused) -> NotAnOrder:
    """What the shop said to the order_input of these rows."""
    return NotAnOrder(*located(rows, form, problem.errors or [("", problem.detail)]))


def located(
    rows: Sequence[StagedRow], form: Format, errors: Iterable[tuple[str, str]]
) -> list[Fault]:
    """JSON pointers as lines of the file; in a CSV, each line of the order is a row of its own."""
    faults = []
    for pointer, message in errors:
        line_number, field = _cell(rows, pointer) if form == Format.CSV else (rows[0].line, pointer)
        faults.append(Fault(line_number, field[:FIELD_MAX_CHARS], bounded(message)))
    return faults


def bounded(message: str) -> str:
    """As much of it, and of its values, as is kept."""
    kept = kept_of(message, settings.IMPORT_VALUE_MAX_CHARS)
    return said_again(message[:REASON_MAX_CHARS], kept)


def _parsed(row: StagedRow) -> Any:
    try:
        return strict_json.parse(row.said.encode())
    except NotJson as exc:
        field = exc.pointer[:FIELD_MAX_CHARS]
        raise NotAnOrder(Fault(row.line, field, bounded(exc.said))) from exc


# --- CSV: a row is a line, and the order stands in each of its rows -------------------------------


def _csv_body(rows: Sequence[StagedRow]) -> dict[str, Any]:
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
        {
            column: values.read(row, row_cells, column)
            for column in OF_THE_LINE
            if row_cells.get(column)
        }
        for row, row_cells in zip(rows, cells, strict=True)
    ]
    if faults:
        raise NotAnOrder(*faults)
    return body


def _csv_cells(row: StagedRow) -> dict[str, str]:
    try:
        cells: dict[str, str] = strict_json.parse(row.said.encode())
    except NotJson as exc:
        raise NotAnOrder(Fault(row.line, exc.pointer.removeprefix("/"), exc.message)) from exc
    return cells


def _disagreements(rows: Sequence[StagedRow], cells: Sequence[dict[str, str]]) -> Iterator[Fault]:
    """What a further row says of its order otherwise than the first; blank is as above."""
    head = cells[0]
    for row, row_cells in zip(rows[1:], cells[1:], strict=True):
        for column in OF_THE_ORDER:
            if row_cells.get(column) and row_cells[column] != head.get(column):
                said = "is not what line %(line)s says of the same order"
                yield Fault(row.line, column, Sentence(said, line=rows[0].line))


class Values:
    """What the cells of an order say; what cannot be read is added to its faults."""

    def __init__(self, currency: str, faults: list[Fault]) -> None:
        self._currency = currency
        self._faults = faults

    def read(self, row: StagedRow, cells: dict[str, str], column: str) -> Any:
        cell = cells[column]
        try:
            if column in AMOUNTS or column in COUNTS:
                return self._number(cell)
            if column in JSON or (column in LISTS and cell.startswith("[")):
                return strict_json.parse(cell.encode())
            return [tag.strip() for tag in cell.split(",")] if column in LISTS else cell
        except NotJson:
            said = Sentence("must be JSON")
        except ValueError as exc:
            said = exc.args[0]
        self._faults.append(Fault(row.line, column, bounded(said)))
        return None

    def _number(self, cell: str) -> int:
        if cell.endswith(IN_MAJOR):
            return money.read(cell.removesuffix(IN_MAJOR), self._currency)
        if WHOLE_NUMBER.fullmatch(cell):
            return int(cell)
        raise ValueError(Sentence("must be a whole number"))


def _cell(rows: Sequence[StagedRow], pointer: str) -> tuple[int, str]:
    """The line and the column that a pointer into the order means."""
    if (meant := LINE_POINTER.fullmatch(pointer)) and int(meant[1]) < len(rows):
        return rows[int(meant[1])].line, meant[2] or ""
    return rows[0].line, column_at(pointer)
