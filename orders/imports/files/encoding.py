"""How the text of a file is written in bytes: as its first bytes tell, or its sender, or in UTF-8.

Nothing is guessed: what Excel saves as CSV in Japan is as valid in half a dozen other encodings.
"""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from values.refused import Refused, Sentence

UTF_8 = "utf-8"
# by the names that a sender may give, and the codec of each
ENCODINGS = {
    UTF_8: "utf-8",
    "utf-16": "utf-16-le",  # or what its mark says
    "shift_jis": "cp932",  # as Windows and Excel write it
    "windows-1252": "cp1252",
}
ALIASES = {
    "utf8": UTF_8,
    "utf-16le": "utf-16",
    "cp932": "shift_jis",
    "ms932": "shift_jis",
    "sjis": "shift_jis",
    "x-sjis": "shift_jis",
    "shift-jis": "shift_jis",
    "windows-31j": "shift_jis",
    "cp1252": "windows-1252",
}
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# what is no text at all, by its first bytes
A_WORKBOOK, A_PDF = Sentence("a workbook"), Sentence("a PDF")
NO_TEXT = {b"PK\x03\x04": A_WORKBOOK, b"\xd0\xcf\x11\xe0": A_WORKBOOK, b"%PDF": A_PDF}
PIECE_BYTES = 64 * 1024
IN_MEMORY_BYTES = 1024 * 1024
UNREADABLE = "\N{REPLACEMENT CHARACTER}"


def named(charset: str) -> str | None:
    """The one of ENCODINGS that this charset means; None where it means no such one."""
    name = charset.strip().lower()
    name = ALIASES.get(name, ALIASES.get(name.replace("_", "-"), name))
    return name if name in ENCODINGS else None


@contextmanager
def in_utf8(file: BinaryIO, encoding: str) -> Iterator[BinaryIO]:
    """The text of a file in UTF-8, at its start. A mark at the beginning of the file counts for
    more than the encoding that its sender names.

    One that is called UTF-8 is handed on as it is, to be checked line by line. Refuses with
    `malformed-import`, and names the first line which is not in this encoding.
    """
    start = file.read(4)
    file.seek(0)
    if kind := NO_TEXT.get(start):
        text = "This is %(kind)s and no text. Open it and save it as CSV (UTF-8)."
        raise _malformed(Sentence(text, kind=kind))
    codec = ENCODINGS[encoding]
    codec = next((named for mark, named in MARKS.items() if start.startswith(mark)), codec)
    if codec == UTF_8:
        if b"\x00" in start:
            nul = Sentence("It begins with a NUL. If this is UTF-16, say so: encoding=utf-16.")
            raise _malformed(nul)
        yield file
        return
    with SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as recoded:
        _recode(file, recoded, codec)
        recoded.seek(0)
        yield cast(BinaryIO, recoded)


def _recode(file: BinaryIO, to: "SpooledTemporaryFile[bytes]", codec: str) -> None:
    decoder = codecs.getincrementaldecoder(codec)(errors="replace")
    line_number = 1
    while raw := file.read(PIECE_BYTES):
        line_number = _written(decoder.decode(raw), to, codec, line_number)
    _written(decoder.decode(b"", final=True), to, codec, line_number)


def _written(piece: str, to: "SpooledTemporaryFile[bytes]", codec: str, line_number: int) -> int:
    """Write a piece of the file, which begins in that line. Returns the line in which it ends."""
    position = piece.find(UNREADABLE)
    if position >= 0:
        text = "Line %(line)s is not %(codec)s. Save the file as UTF-8, or say how it is written."
        there = line_number + piece.count("\n", 0, position)
        raise _malformed(Sentence(text, line=there, codec=codec))
    to.write(piece.encode())
    return line_number + piece.count("\n")


def _malformed(detail: str) -> Refused:
    return Refused("malformed-import", detail, errors=[("", detail)])
