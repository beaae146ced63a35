"""Reading an import file row by row: what each row says, on which line it begins, and why one
cannot be read.

Nothing is decided here about orders. A row that cannot be read is passed on with its fault; only
what concerns the whole file (its encoding, its header) is refused.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import BinaryIO

from django.conf import settings
from django.db import models

from orders.order_input import EXTERNAL_ID_MAX_CHARS
from values.refused import Refused, invalid
from values.strict_json import escaped

BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
REQUIRED = (
    "external_id",
    "currency",
    "email",
    "sku",
    "name",
    "quantity",
    "unit_price",
    "total",
    "token",
)
OPTIONAL = ("locale", "discount", "tax")
COLUMNS_MAX = 100
STAGED_IN_MEMORY_BYTES = 1024 * 1024
LINE_COSTS_BYTES = 100  # to hand a line out again, however short it is


class Format(models.TextChoices):
    CSV = "csv"
    NDJSON = "ndjson"


@dataclass(frozen=True, slots=True)
class Row:
    """One order body, or one CSV row, as JSON text that nobody has judged yet."""

    line: int  # where it begins; the first line of the file is 1
    said: str = ""
    key: str | None = None  # rows with the same key are the lines of one order
    fault: str = ""  # why it cannot be read


class TooLong(Exception):
    """A row has more than IMPORT_ROW_MAX_BYTES."""


class Lines:
    """The lines of a file, each as long as a row may be, with a memory of where the current row
    began.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0  # of the line handed out last
        self._row: list[tuple[str, int]] = []  # lines of the current row, with their sizes in bytes
        self._row_bytes = 0
        self._returned: list[
            tuple[str, int]
        ] = []  # lines to be handed out again, the next one last
        self._returned_bytes = 0  # of all of them, ever

    def begin_row(self) -> int:
        """The next line begins a row; its number."""
        self._row.clear()
        self._row_bytes = 0
        return self._number + 1

    def go_back(self) -> str:
        """The row was not what it seemed: only its first line, returned, is spoilt; the others are
        handed out again.

        No more than IMPORT_AGAIN_MAX_BYTES of one file, since each of its lines may spoil a row as
        long as rows may be; the shortest line costs as much as one of LINE_COSTS_BYTES. Raises a
        422 problem beyond.
        """
        spoilt = self._row[1:]
        self._number -= len(spoilt)
        self._returned += reversed(spoilt)
        self._returned_bytes += sum(max(size, LINE_COSTS_BYTES) for _, size in spoilt)
        if self._returned_bytes > settings.IMPORT_AGAIN_MAX_BYTES:
            raise invalid(
                (
                    "",
                    (
                        "too many quotes are never closed; "
                        f"the one on line {self._number} is the last we follow"
                    ),
                )
            )
        return self._row[0][0]

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        """Raises TooLong when the current row has become so, and a 400 problem for what is not
        UTF-8.
        """
        text, size = self._returned.pop() if self._returned else self._read()
        self._number += 1
        self._row.append((text, size))
        self._row_bytes += size
        if self._row_bytes > settings.IMPORT_ROW_MAX_BYTES:
            raise TooLong
        return text

    def _read(self) -> tuple[str, int]:
        limit = settings.IMPORT_ROW_MAX_BYTES
        raw = self._file.readline(limit + 1)
        if not raw:
            raise StopIteration
        if self._number >= settings.IMPORT_MAX_LINES:
            message = (
                f"the file has more than {settings.IMPORT_MAX_LINES} lines, empty ones included; "
                "send it in parts"
            )
            raise invalid(("", message))
        if len(raw) > limit:
            self._skip_rest_of_line(raw)
            return "", len(raw)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as exc:
            detail = (
                f"Line {self._number + 1} is not UTF-8 at byte {exc.start}. Save the file as UTF-8."
            )
            raise Refused("malformed-import", detail, errors=[("", detail)]) from exc
        return (text.removeprefix(BOM) if self._number == 0 else text), len(raw)

    def _skip_rest_of_line(self, raw: bytes) -> None:
        while raw and not raw.endswith(b"\n"):
            raw = self._file.readline(settings.IMPORT_ROW_MAX_BYTES)


def rows_of(file: BinaryIO, form: Format) -> Iterator[Row]:
    """Every row of the file, in bounded memory.

    Raises a 400 problem for a file that is not UTF-8 and a 422 problem for one of too many lines,
    for a CSV header that lacks a column, repeats one or names one that we do not know, and for a
    CSV in which too many quotes are never closed.
    """
    file_lines = Lines(file)
    return _csv_rows(file_lines) if form == Format.CSV else _ndjson_rows(file_lines)


@contextmanager
def staged(file: BinaryIO, form: Format) -> Iterator[Iterator[Row]]:
    """The rows of a file that has been read to its end, so that no transaction has to wait for
    that.

    They lie on this machine's disk meanwhile. Raises, before the block begins, as `rows_of` does,
    and a 422 problem for a file of no rows or too many.
    """
    with SpooledTemporaryFile(max_size=STAGED_IN_MEMORY_BYTES) as stage:
        number = 0
        for number, row in enumerate(rows_of(file, form), start=1):
            if number > settings.IMPORT_MAX_ROWS:
                raise invalid(
                    (
                        "",
                        f"the file has more than {settings.IMPORT_MAX_ROWS} rows; send it in parts",
                    )
                )
            stage.write(json.dumps((row.line, row.said, row.key, row.fault)).encode() + b"\n")
        if not number:
            raise invalid(("", "the file has no rows"))
        stage.seek(0)
        yield (Row(*json.loads(written)) for written in stage)


# --- CSV ------------------------------------------------------------------------------------------


def key_of(external_id: str) -> str | None:
    """None for what can be no order's external_id: such a row stands for itself."""
    fits = 0 < len(external_id) <= EXTERNAL_ID_MAX_CHARS and "\x00" not in external_id
    return external_id if fits else None


def _csv_rows(file_lines: Lines) -> Iterator[Row]:
    """Quoted fields may hold line breaks. A quote that never closes spoils its own line and no
    other.
    """
    columns: list[str] | None = None
    while True:
        number = file_lines.begin_row()
        try:
            cells = next(csv.reader(file_lines, strict=True), None)
        except (csv.Error, TooLong) as exc:
            spoilt = file_lines.go_back()
            if columns is None:
                raise invalid(
                    ("", f"the header on line {number} cannot be read: {_why(exc)}")
                ) from exc
            yield Row(
                number, key=_key_among(_cells_before_the_end(spoilt), columns), fault=_why(exc)
            )
            continue
        if cells is None:
            break
        if not any(cells):
            continue
        if columns is None:
            columns = _header(cells)
        else:
            yield _csv_row(number, columns, cells)
    if columns is None:
        raise invalid(("", "the file is empty; its first row names the columns"))


def _header(cells: Sequence[str]) -> list[str]:
    """The columns in the order in which they stand. Raises a 422 problem that names each that is
    wrong.
    """
    if len(cells) > COLUMNS_MAX:
        raise invalid(
            (
                "",
                (
                    f"the header names {len(cells)} columns; "
                    f"there are {', '.join((*REQUIRED, *OPTIONAL))}"
                ),
            )
        )
    columns = [cell.strip() for cell in cells]
    wrong = [(name, "this column is missing") for name in REQUIRED if name not in columns]
    for index, name in enumerate(columns):
        if name not in (*REQUIRED, *OPTIONAL):
            wrong.append(
                (name, f"there is no such column; there are {', '.join((*REQUIRED, *OPTIONAL))}")
            )
        elif name in columns[:index]:
            wrong.append((name, "this column stands there twice"))
    if wrong:
        raise invalid(*((f"/{escaped(name)}", message) for name, message in wrong))
    return columns


def _csv_row(number: int, columns: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(columns):
        fault = f"has {len(cells)} fields, but the header names {len(columns)} columns"
        return Row(number, key=_key_among(cells, columns), fault=fault)
    cell_of = dict(zip(columns, cells, strict=True))
    return Row(
        number, said=json.dumps(cell_of, ensure_ascii=True), key=key_of(cell_of["external_id"])
    )


def _key_among(cells: Sequence[str], columns: Sequence[str]) -> str | None:
    """Whose a row is that cannot be read: that order is refused with it, not placed without it."""
    index = columns.index("external_id")
    return key_of(cells[index]) if index < len(cells) else None


def _cells_before_the_end(spoilt: str) -> list[str]:
    """Those of a broken line before the last, which may hold what breaks it."""
    try:
        return next(csv.reader([spoilt]), [])[:-1]
    except csv.Error:
        return []


def _why(exc: Exception) -> str:
    if isinstance(exc, TooLong):
        return (
            f"is longer than {settings.IMPORT_ROW_MAX_BYTES} bytes, "
            "or a quote in it is never closed"
        )
    return f"is not CSV: {exc}"


# --- NDJSON ---------------------------------------------------------------------------------------


def _ndjson_rows(file_lines: Lines) -> Iterator[Row]:
    while True:
        number = file_lines.begin_row()
        try:
            text = next(file_lines, None)
        except TooLong:
            yield Row(number, fault=f"is longer than {settings.IMPORT_ROW_MAX_BYTES} bytes")
            continue
        if text is None:
            return
        if "\x00" in text:
            yield Row(number, fault="holds a NUL character")
        elif body := text.strip():
            yield Row(number, said=body)
