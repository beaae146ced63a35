"""A file of stock: a row for each sku, read as an import's are; all of it is right, or none is
taken.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from django.conf import settings
from pydantic import ValidationError

from orders.imports.files.csv_rows import WHOLE_NUMBER, other_width, rows_under
from orders.imports.files.encoding import in_utf8
from orders.imports.files.header import Columns
from orders.imports.files.lines import Lines, Row
from orders.imports.files.reading import NO_ROWS, Format, ndjson_rows, too_many_rows
from orders.inputs.faults import pointed
from orders.inputs.stock import StockInput
from values import strict_json
from values.refused import Sentence, invalid
from values.strict_json import NotJson

REQUIRED = ("sku",)
OPTIONAL = ("on_hand", "name", "counted", "backorder_limit", "low_at")
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
Wrong = list[tuple[str, str]]


def stock_in(
    file: BinaryIO, form: Format, encoding: str
) -> tuple[dict[str, StockInput], dict[str, str]]:
    """The rows by their skus, and by their skus too the place of each, as `/line 3`.

    Refuses with `invalid` a file with anything wrong in it, and names all of that by line and
    field, and one of no rows or of more than STOCK_FILE_MAX_ROWS; with `malformed-import` one that
    is not in this encoding.
    """
    row_of: dict[str, StockInput] = {}
    places: dict[str, str] = {}
    wrong: Wrong = []
    for number, row in enumerate(_rows(file, form, encoding), start=1):
        if number > settings.STOCK_FILE_MAX_ROWS:
            raise too_many_rows(settings.STOCK_FILE_MAX_ROWS)
        place = f"/line {row.line_number}"
        if (read := _read(row, place, wrong)) is None:
            continue
        if read.sku in row_of:
            other = places[read.sku].removeprefix("/line ")
            wrong.append((f"{place}/sku", Sentence("stands on line %(line)s too", line=other)))
        row_of[read.sku], places[read.sku] = read, place
    if not row_of and not wrong:
        raise invalid(("", NO_ROWS))
    if wrong:
        raise invalid(*wrong)
    return row_of, places


def _rows(file: BinaryIO, form: Format, encoding: str) -> Iterator[Row]:
    with in_utf8(file, encoding) as text:
        if form == Format.NDJSON:
            yield from ndjson_rows(Lines(text))
        else:
            yield from rows_under(Lines(text), Columns(REQUIRED, REQUIRED + OPTIONAL), Table)


class Table:
    """Rows of cells; a blank cell leaves its field as it is."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns

    def row(self, number: int, cells: Sequence[str]) -> Row:
        width = len(self._columns)
        if any(cells[width:]):
            return self.unreadable(number, cells, other_width(len(cells), width))
        named = zip(self._columns, cells, strict=False)
        fields = {name: _value(name, cell) for name, cell in named if cell}
        return Row(number, text=json.dumps(fields))

    def unreadable(self, number: int, cells: Sequence[str], fault: str) -> Row:
        return Row(number, fault=fault)


def _value(column: str, cell: str) -> Any:
    """The value of a cell in the type of its column; its text where it has none, which the shape
    then refuses by name.
    """
    if column in ("sku", "name"):
        return cell
    if column == "counted":
        return WORDS.get(cell.lower(), cell)
    return int(cell) if WHOLE_NUMBER.fullmatch(cell) else cell


def _read(row: Row, place: str, wrong: Wrong) -> StockInput | None:
    """None for a row with something wrong, which is then added to `wrong`."""
    if row.fault:
        wrong.append((place, row.fault))
        return None
    try:
        return StockInput.model_validate(strict_json.parse(row.text.encode()))
    except NotJson as exc:
        wrong.append((f"{place}{exc.pointer}", exc.message))
    except ValidationError as exc:
        pairs = [pointed(dict(error), skip=0) for error in exc.errors()]
        wrong += [(f"{place}{pointer}", message) for pointer, message in pairs]
    return None
