"""A CSV as people have it: whichever separator, header in any case and order, spaces around cells,
blank lines and cells at the ends, Excel's guard of a text. What could mean two things is refused.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple, Protocol

from django.conf import settings

from orders.imports.files.columns import AMOUNTS, COLUMNS, OF_THE_ORDER, PAYMENT, REQUIRED
from orders.imports.files.lines import Lines, Row, TooLong
from orders.inputs.order import EXTERNAL_ID_MAX_CHARS
from values.csv_cells import as_meant
from values.identity import GUARDED
from values.refused import Refused, Sentence, invalid
from values.strict_json import escaped
from values.texts import BLANKS

COLUMNS_MAX = 100
SEPARATORS = ",;\t|"
SEPARATED = Sentence("cells are separated by a comma, a semicolon, a tab or |")
# Excel's own first line, and what is left of it when the file was saved again
SEPARATOR_LINE = re.compile(f'"?sep=(.)"?[{SEPARATORS} ]*', re.IGNORECASE)
BETWEEN_WORDS = re.compile(f"[{BLANKS}\\s-]+")
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
    """None for what can be no order's external_id: such a row stands for itself."""
    fits = 0 < len(external_id) <= EXTERNAL_ID_MAX_CHARS and "\x00" not in external_id
    return external_id if fits else None


class Columns(NamedTuple):
    """Those that the header of a file must and may name."""

    required: tuple[str, ...]
    known: tuple[str, ...]
    one_of: tuple[str, ...] = ()  # of which there must be one, the first for whoever asks


def csv_rows(file_lines: Lines, amounts: Amounts) -> Iterator[Row]:
    """The rows of a file of orders."""
    columns = Columns(REQUIRED, COLUMNS, PAYMENT)
    return rows_under(file_lines, columns, lambda header: Table(header, amounts))


def rows_under(
    file_lines: Lines, columns: Columns, table_of: Callable[[Sequence[str]], "TableLike"]
) -> Iterator[Row]:
    """Quoted cells may hold line breaks. A quote that never closes spoils its own line and no
    other.
    """
    separator, table = _separator(file_lines, columns), None
    while True:
        number = file_lines.begin_row()
        rows = csv.reader(file_lines, delimiter=separator, strict=True, skipinitialspace=True)
        try:
            cells = next(rows, None)
        except (csv.Error, TooLong) as exc:
            spoilt = file_lines.go_back()
            if table is None:
                said = "the header on line %(line)s cannot be read: %(why)s"
                raise invalid(("", Sentence(said, line=number, why=_why(exc)))) from exc
            yield table.unreadable(number, _cells_before_the_end(spoilt, separator), _why(exc))
            continue
        if cells is None:
            break
        cells = _plain(cells)
        if table is None:
            table = table_of(_header(number, cells, columns)) if any(cells) else None
        elif any(cells):
            yield table.row(number, cells)
    if table is None:
        raise invalid(("", Sentence("the file is empty; its first row names the columns")))


class TableLike(Protocol):
    """What becomes of the cells of a row, read or not."""

    def row(self, number: int, cells: Sequence[str]) -> Row: ...
    def unreadable(self, number: int, cells: Sequence[str], fault: str) -> Row: ...


class Table:
    """Rows under a header, each of which may leave blank what the one above it says."""

    def __init__(self, columns: Sequence[str], amounts: Amounts) -> None:
        self._columns = columns
        self._in_major = amounts == Amounts.MAJOR
        self._amounts = [column for column in columns if column in AMOUNTS]
        self._of_the_order = [column for column in columns if column in OF_THE_ORDER]
        self._name_at = columns.index("external_id")
        self._above = ""  # the external_id of the row above

    def row(self, number: int, cells: Sequence[str]) -> Row:
        """Raises a 422 problem for an amount that leaves the unit of all of them in doubt."""
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
        return Row(number, said=json.dumps(cell_of), key=key_of(self._above))

    def unreadable(self, number: int, cells: Sequence[str], fault: str) -> Row:
        """Whose it is, it still tells: that order is refused with it, not placed without it."""
        self._above = cells[self._name_at] if self._name_at < len(cells) else ""
        return Row(number, key=key_of(self._above), fault=fault)


def other_width(cells: int, columns: int) -> Sentence:
    said = "has %(cells)s cells, but the header names %(columns)s columns"
    return Sentence(said, cells=cells, columns=columns)


def _separator(file_lines: Lines, columns: Columns) -> str:
    """The one that a first line `sep=` says, or else that with which the header names the most
    columns.
    """
    first = file_lines.begin_row()
    try:
        text = next(file_lines, "")
        while text and not text.strip(f"{SEPARATORS} \r\n"):
            file_lines.begin_row()
            text = next(file_lines, "")
    except TooLong:
        text = ""
    said = SEPARATOR_LINE.fullmatch(text.rstrip("\r\n"))
    if said is None:
        file_lines.look_again()
        return max(SEPARATORS, key=lambda separator: _known_columns(text, separator, columns))
    if said[1] not in SEPARATORS:
        raise invalid(("", _other_separator(first, said[1])))
    return said[1]


def _other_separator(number: int, separator: str) -> Sentence:
    said = "line %(line)s says that %(separator)s separates the cells; %(separated)s"
    return Sentence(said, line=number, separator=separator, separated=SEPARATED)


def _known_columns(header: str, separator: str, columns: Columns) -> int:
    try:
        cells = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return 0
    return len({_column(cell) for cell in _plain(cells)} & set(columns.known))


def _plain(cells: Sequence[str]) -> list[str]:
    """Without spaces around them, and without what tells a spreadsheet that 0017 is no number and
    -1 no formula.
    """
    bare = list(map(str.strip, cells))
    said = "".join(bare)
    if '="' in said:
        bare = [GUARDED.sub(r"\1", cell).strip() for cell in bare]
    return list(map(as_meant, bare)) if "'" in said else bare


def _column(cell: str) -> str:
    return BETWEEN_WORDS.sub("_", cell.lower()).strip("_")


def _header(number: int, cells: Sequence[str], expected: Columns) -> list[str]:
    """The columns in the order in which they stand. Raises a 422 problem that names each that is
    wrong.
    """
    while cells and not cells[-1]:
        cells = cells[:-1]
    columns = [_column(cell) for cell in cells]
    if no_header := _no_header(number, columns, expected):
        raise invalid(("", no_header))
    offered = set(expected.one_of) & set(columns)
    needed = expected.required if offered else (*expected.required, *expected.one_of[:1])
    known = expected.known
    missing = [name for name in needed if name not in columns]
    unknown = [cells[index] for index, name in enumerate(columns) if name not in known]
    twice = [name for index, name in enumerate(columns) if name in columns[:index]]
    wrong = [
        *((name, Sentence("this column is missing")) for name in missing),
        *((name, Sentence("there is no such column")) for name in unknown),
        *((name, Sentence("this column stands there twice")) for name in twice if name in known),
    ]
    if wrong:
        raise _wrong_header(wrong, _there_are(expected))
    return columns


def _no_header(number: int, columns: Sequence[str], expected: Columns) -> Sentence | None:
    """Why this row is none, whichever columns it should have."""
    there_are = _there_are(expected)
    if len(columns) > COLUMNS_MAX:
        said = "the header names %(number)s columns; %(there_are)s"
        return Sentence(said, number=len(columns), there_are=there_are)
    if not set(columns) & set(expected.known):
        said = "line %(line)s is no header that we know: %(there_are)s; %(separated)s"
        return Sentence(said, line=number, there_are=there_are, separated=SEPARATED)
    return None


def _there_are(expected: Columns) -> Sentence:
    return Sentence("the columns are %(columns)s", columns=", ".join(expected.known))


def _wrong_header(wrong: Sequence[tuple[str, str]], there_are: Sentence) -> Refused:
    """Each column by its pointer for machines, and one sentence of all of them for people."""
    said = "; ".join(
        f"{message}: {', '.join(name for name, _ in named)}"
        for message, named in groupby(wrong, key=lambda one: one[1])
    )
    named = [(f"/{escaped(name)}", message) for name, message in wrong]
    detail = Sentence("%(wrong)s; %(there_are)s", wrong=said, there_are=there_are)
    return Refused("invalid", detail, errors=[*named, ("", there_are)])


def _is_doubtful(amount: str) -> bool:
    """Neither a whole number nor a word."""
    if amount.isdecimal():  # nearly all are
        return False
    return not WHOLE_NUMBER.fullmatch(amount) and DIGIT.search(amount) is not None


def doubt(number: int, column: str, amount: str, *, remedy: Sentence) -> Refused:
    """One amount like 12.50 says what the 12 beside it would mean: nothing of the file is taken."""
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
    """Those of a broken line before the last, which may hold what breaks it."""
    try:
        cells = next(csv.reader([spoilt], delimiter=separator, skipinitialspace=True), [])[:-1]
    except csv.Error:
        return []
    return _plain(cells)


def _why(exc: Exception) -> Sentence:
    """In words of the file, not of Python."""
    said = str(exc)
    if isinstance(exc, TooLong) or "limit" in said:
        text = "is longer than %(most)s bytes, or a quote in it is never closed"
        return Sentence(text, most=settings.IMPORT_ROW_MAX_BYTES)
    if "new-line" in said:
        return Sentence("ends with a bare carriage return; save the file as CSV anew")
    if "expected after" in said:
        return Sentence('has a quote inside a quoted cell; write it twice there: ""')
    return Sentence("has a quote that is never closed")
