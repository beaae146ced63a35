"""Reading an import file row by row: the text of each row, on which line it begins, and why one
cannot be read.

Nothing is decided here about orders. A row that cannot be read is passed on with its fault; only
what concerns the whole file (its encoding, its header, the unit of its amounts) is refused.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, NamedTuple

from django.conf import settings
from django.db import models

from orders.imports.files.csv_rows import Amounts, csv_rows, doubt
from orders.imports.files.encoding import UTF_8, in_utf8
from orders.imports.files.lines import Lines, Row, TooLong
from values.refused import Refused, Sentence, invalid, restored

STAGED_IN_MEMORY_BYTES = 1024 * 1024
NO_ROWS = Sentence("the file has no rows")
# as a number, which no text of a body is: there a quote has a backslash before it
DECIMAL_AMOUNT = re.compile(
    r'"(unit_price|discount|tax|total|amount)"[ \t]*:[ \t]*(-?[0-9]{1,18}\.[0-9]{1,18})'
)


class Format(models.TextChoices):
    CSV = "csv"
    NDJSON = "ndjson"


class Manner(NamedTuple):
    """How a file is to be read, and its orders taken."""

    form: Format
    amounts: Amounts = Amounts.MINOR
    encoding: str = UTF_8
    quiet: bool = False  # no customer is mailed about its orders


class Stage:
    """The rows of a file, on this machine's disk."""

    def __init__(self, file: "SpooledTemporaryFile[bytes]") -> None:
        self._file = file

    def __iter__(self) -> Iterator[Row]:
        return (row for _, row in self.placed())

    def placed(self) -> Iterator[tuple[int, Row]]:
        """Each row with its place on the disk, at which `row_at` finds it again."""
        self._file.seek(0)
        place = 0
        for written in self._file:
            yield place, _row_of(written)
            place += len(written)

    def row_at(self, place: int) -> Row:
        self._file.seek(place)
        return _row_of(self._file.readline())


def _written(row: Row) -> bytes:
    columns = (row.line_number, row.text, row.key, row.fault, row.fault_kept)
    return json.dumps(columns).encode() + b"\n"


def _row_of(written: bytes) -> Row:
    line_number, text, key, fault, kept = json.loads(written)
    return Row(line_number, text, key, restored(fault, kept))


def rows_of(file: BinaryIO, form: Format, amounts: Amounts = Amounts.MINOR) -> Iterator[Row]:
    """Every row of the file, in bounded memory.

    Refuses with `malformed-import` a file that is not UTF-8, and with `invalid` one of too many
    lines or whose amounts leave their unit in doubt, and a CSV whose header lacks a column, repeats
    one or names one that we do not know, or in which too many quotes are never closed.
    """
    file_lines = Lines(file)
    return csv_rows(file_lines, amounts) if form == Format.CSV else ndjson_rows(file_lines)


@contextmanager
def staged(file: BinaryIO, manner: Manner) -> Iterator[Stage]:
    """The rows of a file that has been read to its end, so that no transaction has to wait for
    that.

    They lie on this machine's disk meanwhile. Refuses, before the block begins, as `rows_of` does,
    and with `invalid` a file of no rows or too many.
    """
    with (
        in_utf8(file, manner.encoding) as text,
        SpooledTemporaryFile(max_size=STAGED_IN_MEMORY_BYTES) as stage,
    ):
        number = 0
        for number, row in enumerate(rows_of(text, manner.form, manner.amounts), start=1):
            if number > settings.IMPORT_MAX_ROWS:
                raise too_many_rows(settings.IMPORT_MAX_ROWS)
            stage.write(_written(row))
        if not number:
            raise invalid(("", NO_ROWS))
        yield Stage(stage)


def too_many_rows(most: int) -> Refused:
    text = "the file has more than %(most)s rows; send it in parts"
    return invalid(("", Sentence(text, most=most)))


def ndjson_rows(file_lines: Lines) -> Iterator[Row]:
    while True:
        number = file_lines.begin_row()
        try:
            text = next(file_lines, None)
        except TooLong:
            most = settings.IMPORT_ROW_MAX_BYTES
            yield Row(number, fault=Sentence("is longer than %(most)s bytes", most=most))
            continue
        if text is None:
            return
        if found := DECIMAL_AMOUNT.search(text):
            raise doubt(number, found[1], found[2], remedy=Sentence("Write whole numbers."))
        if "\x00" in text:
            yield Row(number, fault=Sentence("holds a NUL character"))
        elif body := text.strip():
            yield Row(number, text=body)
