"""A CSV as people have it: whichever separator, header in any case and order, spaces around cells,
blank lines and cells at the ends, Excel's guard of a text. What could mean two things is refused.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Protocol

from django.conf import settings

from orders.imports.files.columns import AMOUNTS, COLUMNS, OF_THE_ORDER, PAYMENT, REQUIRED
from orders.imports.files.header import Columns, header_of, separator_of
from orders.imports.files.lines import Lines, Row, TooLong
from orders.inputs.order import EXTERNAL_ID_MAX_CHARS
from values.csv_cells import plain
from values.refused import Refused, Sentence, invalid

WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
DIGIT = re.compile("[0-9]")
SAY_MAJOR = Sentence(
    "Say amounts=major if 12 means 12.00 here, or write whole numbers without separators."
)
AMOUNT_SHOWN_CHARS = 40
IN_MAJOR = " major"  # behind an amount that counts in units of the currency, as `12.50 major`


class Amounts(StrEnum):
    """What the amounts of a file count: cents, or euros as in 12.50, by their currency's digits."""

    MINOR = "minor"
    MAJOR = "major"


def key_of(external_id: str) -> str | None:
    """The key of a row with this external_id; None for a text that can be none: such a row makes an
    order by itself.
    """
    fits = 0 < len(external_id) <= EXTERNAL_ID_MAX_CHARS and "\x00" not in external_id
    return external_id if fits else None


def csv_rows(file_lines: Lines, amounts: Amounts) -> Iterator[Row]:
    """The rows of a file of orders."""
    columns = Columns(REQUIRED, COLUMNS, PAYMENT)
    return rows_under(file_lines, columns, lambda header: Table(header, amounts))


def rows_under(
    file_lines: Lines, columns: Columns, table_of: Callable[[Sequence[str]], "TableLike"]
) -> Iterator[Row]:
    """The rows below the header, of which the first row that is not blank is made: `table_of` takes
    its columns. Quoted cells may hold line breaks; a quote that never closes spoils its own line
    and no other. Refuses with `invalid` a file without a header, or with a wrong one.
    """
    table: TableLike | None = None
    for number, cells, fault in _split(file_lines, separator_of(file_lines, columns)):
        if table is None and fault:
            text = "the header on line %(line)s cannot be read: %(why)s"
            raise invalid(("", Sentence(text, line=number, why=fault)))
        if table is None:
            table = table_of(header_of(number, cells, columns)) if any(cells) else None
        elif fault:
            yield table.unreadable(number, cells, fault)
        elif any(cells):
            yield table.row(number, cells)
    if table is None:
        raise invalid(("", Sentence("the file is empty; its first row names the columns")))


def _split(file_lines: Lines, separator: str) -> Iterator[tuple[int, list[str], Sentence | None]]:
    """Each row: the number of the line where it begins, its cells, and None; or of one that cannot
    be read the cells before the broken one, and why.
    """
    while True:
        number = file_lines.begin_row()
        rows = csv.reader(file_lines, delimiter=separator, strict=True, skipinitialspace=True)
        try:
            cells = next(rows, None)
        except (csv.Error, TooLong) as exc:
            spoilt = file_lines.go_back()
            yield number, _cells_before_the_end(spoilt, separator), _why(exc)
            continue
        if cells is None:
            return
        yield number, plain(cells), None


class TableLike(Protocol):
    """What becomes of the cells of a row, read or not."""

    def row(self, number: int, cells: Sequence[str]) -> Row: ...
    def unreadable(self, number: int, cells: Sequence[str], fault: str) -> Row: ...


class Table:
    """Rows of orders under a header. A further row of an order may leave its columns blank."""

    def __init__(self, columns: Sequence[str], amounts: Amounts) -> None:
        self._columns = columns
        self._in_major = amounts == Amounts.MAJOR
        self._amounts = [column for column in columns if column in AMOUNTS]
        self._of_the_order = [column for column in columns if column in OF_THE_ORDER]
        self._name_at = columns.index("external_id")
        self._above = ""  # the external_id of the row above

    def row(self, number: int, cells: Sequence[str]) -> Row:
        """Refuses with `invalid` an amount that leaves the unit of all of them in doubt."""
        width = len(self._columns)
        if len(cells) < width or any(cells[width:]):
            return self.unreadable(number, cells, other_width(len(cells), width))
        cell_of = dict(zip(self._columns, cells, strict=False))
        if not cell_of["external_id"] and not any(cell_of[name] for name in self._of_the_order):
            cell_of["external_id"] = self._above
        self._above = cell_of["external_id"]
        for column in self._amounts:
            if (amount := cell_of[column]) and self._in_major:
                cell_of[column] = amount + IN_MAJOR
            elif amount and _is_doubtful(amount):
                raise doubt(number, column, amount, remedy=SAY_MAJOR)
        return Row(number, text=json.dumps(cell_of), key=key_of(self._above))

    def unreadable(self, number: int, cells: Sequence[str], fault: str) -> Row:
        """A row with this fault. Its external_id is still read, so that its order is refused with
        it and not placed without it.
        """
        self._above = cells[self._name_at] if self._name_at < len(cells) else ""
        return Row(number, key=key_of(self._above), fault=fault)


def other_width(cells: int, columns: int) -> Sentence:
    text = "has %(cells)s cells, but the header names %(columns)s columns"
    return Sentence(text, cells=cells, columns=columns)


def _is_doubtful(amount: str) -> bool:
    """Whether an amount is neither a whole number nor a word."""
    if amount.isdecimal():  # nearly all are
        return False
    return not WHOLE_NUMBER.fullmatch(amount) and DIGIT.search(amount) is not None


def doubt(number: int, column: str, amount: str, *, remedy: Sentence) -> Refused:
    """The refusal of a file for one amount like 12.50, beside which a 12 may be 12.00 or 0.12."""
    message = Sentence(
        "line %(line)s, %(column)s: %(amount)s is no whole number of the "
        "currency's smallest unit (cents, yen). So it is in doubt what the amounts of this file "
        "count, and nothing of it was taken. %(remedy)s",
        line=number,
        column=column,
        amount=amount[:AMOUNT_SHOWN_CHARS],
        remedy=remedy,
    )
    return invalid(("", message))


def _cells_before_the_end(spoilt: str, separator: str) -> list[str]:
    """The cells of a broken line but the last, which may hold what breaks it."""
    try:
        cells = next(csv.reader([spoilt], delimiter=separator, skipinitialspace=True), [])[:-1]
    except csv.Error:
        return []
    return plain(cells)


def _why(exc: Exception) -> Sentence:
    """Why a row cannot be read, in words of the file, not of Python."""
    message = str(exc)
    if isinstance(exc, TooLong) or "limit" in message:
        text = "is longer than %(most)s bytes, or a quote in it is never closed"
        return Sentence(text, most=settings.IMPORT_ROW_MAX_BYTES)
    if "new-line" in message:
        return Sentence("ends with a bare carriage return; save the file as CSV anew")
    if "expected after" in message:
        return Sentence('has a quote inside a quoted cell; write it twice there: ""')
    return Sentence("has a quote that is never closed")
