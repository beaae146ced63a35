"""How a CSV begins: with what separates its cells, and with the columns that its header names."""

import csv
import re
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from orders.imports.files.lines import Lines, TooLong
from values.csv_cells import plain
from values.refused import Refused, Sentence, invalid
from values.strict_json import escaped
from values.texts import BLANKS

COLUMNS_MAX = 100
SEPARATORS = ",;\t|"
SEPARATED = Sentence("cells are separated by a comma, a semicolon, a tab or |")
# Excel's own first line, and what is left of it when the file was saved again
SEPARATOR_LINE = re.compile(f'"?sep=(.)"?[{SEPARATORS} ]*', re.IGNORECASE)
BETWEEN_WORDS = re.compile(f"[{BLANKS}\\s-]+")
Wrong = list[tuple[str, Sentence]]  # pairs of column and what is wrong with it


class Columns(NamedTuple):
    """The columns that the header of a file must and may name."""

    required: tuple[str, ...]
    allowed: tuple[str, ...]
    one_of: tuple[str, ...] = ()  # of which there must be one, the first for whoever asks


def separator_of(file_lines: Lines, columns: Columns) -> str:
    """What separates the cells: as a first line `sep=` has it, or else the one of SEPARATORS with
    which the header names the most columns. Refuses with `invalid` any other.
    """
    first = file_lines.begin_row()
    try:
        text = next(file_lines, "")
        while text and not text.strip(f"{SEPARATORS} \r\n"):
            file_lines.begin_row()
            text = next(file_lines, "")
    except TooLong:
        text = ""
    named = SEPARATOR_LINE.fullmatch(text.rstrip("\r\n"))
    if named is None:
        file_lines.look_again()
        return max(SEPARATORS, key=lambda separator: _number_named(text, separator, columns))
    if named[1] not in SEPARATORS:
        raise invalid(("", _other_separator(first, named[1])))
    return named[1]


def _other_separator(line_number: int, separator: str) -> Sentence:
    text = "line %(line)s says that %(separator)s separates the cells; %(separated)s"
    return Sentence(text, line=line_number, separator=separator, separated=SEPARATED)


def _number_named(header: str, separator: str, columns: Columns) -> int:
    """How many of the columns this header names, if its cells are separated so."""
    try:
        cells = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return 0
    return len({_column(cell) for cell in plain(cells)} & set(columns.allowed))


def _column(cell: str) -> str:
    return BETWEEN_WORDS.sub("_", cell.lower()).strip("_")


def header_of(line_number: int, cells: Sequence[str], expected: Columns) -> list[str]:
    """The columns in the order in which they stand. Refuses with `invalid`, and names each that is
    wrong.
    """
    while cells and not cells[-1]:
        cells = cells[:-1]
    columns = [_column(cell) for cell in cells]
    if no_header := _no_header(line_number, columns, expected):
        raise invalid(("", no_header))
    if wrong := _wrong(cells, columns, expected):
        raise _wrong_header(wrong, _there_are(expected))
    return columns


def _no_header(line_number: int, columns: Sequence[str], expected: Columns) -> Sentence | None:
    """Why this row is none, whichever columns it should have."""
    there_are = _there_are(expected)
    if len(columns) > COLUMNS_MAX:
        text = "the header names %(number)s columns; %(there_are)s"
        return Sentence(text, number=len(columns), there_are=there_are)
    if not set(columns) & set(expected.allowed):
        text = "line %(line)s is no header that we know: %(there_are)s; %(separated)s"
        return Sentence(text, line=line_number, there_are=there_are, separated=SEPARATED)
    return None


def _wrong(cells: Sequence[str], columns: Sequence[str], expected: Columns) -> Wrong:
    needed = expected.required
    if not set(expected.one_of) & set(columns):
        needed = (*needed, *expected.one_of[:1])
    wrong: Wrong = []
    for name in needed:
        if name not in columns:
            wrong.append((name, Sentence("this column is missing")))
    for cell, name in zip(cells, columns, strict=True):
        if name not in expected.allowed:
            wrong.append((cell, Sentence("there is no such column")))
    for index, name in enumerate(columns):
        if name in expected.allowed and name in columns[:index]:
            wrong.append((name, Sentence("this column stands there twice")))
    return wrong


def _there_are(expected: Columns) -> Sentence:
    return Sentence("the columns are %(columns)s", columns=", ".join(expected.allowed))


def _wrong_header(wrong: Wrong, there_are: Sentence) -> Refused:
    """The refusal of a header: with a pointer to each wrong column for machines, and one sentence
    of all of them for people.
    """
    parts = []
    for message, of_message in groupby(wrong, key=itemgetter(1)):
        names = ", ".join(name for name, _ in of_message)
        parts.append(f"{message}: {names}")
    detail = Sentence("%(wrong)s; %(there_are)s", wrong="; ".join(parts), there_are=there_are)
    errors = [(f"/{escaped(name)}", message) for name, message in wrong]
    return Refused("invalid", detail, errors=[*errors, ("", there_are)])
