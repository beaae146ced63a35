"""The lines of a file that is imported, and the rows that they make."""

from dataclasses import dataclass
from typing import Any, BinaryIO

from django.conf import settings

from orders.imports.files.encoding import ENCODINGS
from values.refused import Refused, Sentence, invalid, kept_of

BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
ONE_OF_THEM = " or ".join(ENCODINGS)
LINE_COSTS_BYTES = 100  # to hand a line out again, however short it is


@dataclass(frozen=True, slots=True)
class Row:
    """One order body, or one CSV row, as JSON text that nobody has judged yet."""

    line_number: int  # where it begins; the first line of the file is 1
    text: str = ""  # empty for one that cannot be read
    key: str | None = None  # rows with the same key are the lines of one order
    fault: str = ""  # why it cannot be read

    @property
    def fault_kept(self) -> list[Any] | None:
        """What is stored of `fault` beside its English, as `Sentence.kept` has it."""
        return kept_of(self.fault, settings.IMPORT_VALUE_MAX_CHARS)


class TooLong(Exception):
    """A row has more than IMPORT_ROW_MAX_BYTES."""


class Lines:
    """The lines of a file in UTF-8, each as long as a row may be, with a memory of where the
    current row began.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0  # of the line handed out last
        self._row: list[tuple[str, int]] = []  # lines of the current row, with their sizes in bytes
        self._row_bytes = 0
        # lines to be handed out again, the next one last
        self._returned: list[tuple[str, int]] = []
        self._returned_bytes = 0  # of all of them, ever

    def begin_row(self) -> int:
        """Let the next line begin a row. Returns the number of that line."""
        self._row.clear()
        self._row_bytes = 0
        return self._number + 1

    def look_again(self) -> None:
        """Hand the lines of the current row out again."""
        self._number -= len(self._row)
        self._returned += reversed(self._row)

    def go_back(self) -> str:
        """The row was not what it seemed: only its first line, returned, is spoilt; the others are
        handed out again.

        No more than IMPORT_AGAIN_MAX_BYTES of one file, since each of its lines may spoil a row as
        long as rows may be; the shortest line costs as much as one of LINE_COSTS_BYTES. Beyond that
        the file is refused with `invalid`.
        """
        spoilt = self._row[1:]
        self._number -= len(spoilt)
        self._returned += reversed(spoilt)
        self._returned_bytes += sum(max(size, LINE_COSTS_BYTES) for _, size in spoilt)
        if self._returned_bytes > settings.IMPORT_AGAIN_MAX_BYTES:
            text = (
                "too many quotes are never closed; the one on line %(line)s is the last we follow"
            )
            raise invalid(("", Sentence(text, line=self._number)))
        return self._row[0][0]

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        """Raises TooLong when the current row has become so. Refuses with `malformed-import` a line
        that is not UTF-8, and with `invalid` one beyond IMPORT_MAX_LINES.
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
            text = "the file has more than %(most)s lines, empty ones included; send it in parts"
            raise invalid(("", Sentence(text, most=settings.IMPORT_MAX_LINES)))
        if len(raw) > limit:
            self._skip_rest_of_line(raw)
            return "", len(raw)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as exc:
            detail = self._no_utf_8(exc.start)
            raise Refused("malformed-import", detail, errors=[("", detail)]) from exc
        return (text.removeprefix(BOM) if self._number == 0 else text), len(raw)

    def _no_utf_8(self, byte: int) -> Sentence:
        return Sentence(
            "Line %(line)s is not UTF-8 at byte %(byte)s. "
            "Save the file as UTF-8, or say how it is written: encoding=%(encodings)s.",
            line=self._number + 1,
            byte=byte,
            encodings=ONE_OF_THEM,
        )

    def _skip_rest_of_line(self, raw: bytes) -> None:
        while raw and not raw.endswith(b"\n"):
            raw = self._file.readline(settings.IMPORT_ROW_MAX_BYTES)
