"""How the text of a file is written in bytes: said by its first bytes, or by its sender, or UTF-8.

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
    """The one of ENCODINGS that this charset means, None for another."""
    name = charset.strip().lower()
    name = ALIASES.get(name, ALIASES.get(name.replace("_", "-"), name))
    return name if name in ENCODINGS else None


@contextmanager
def in_utf8(file: BinaryIO, encoding: str) -> Iterator[BinaryIO]:
    """The same text in UTF-8, at its start; a mark at the beginning of the file goes before what
    its sender says.

    One that is called UTF-8 is handed on as it is, to be checked line by line. Raises a 400 problem
    that names the first line which is not in this encoding.
    """
    start = file.read(4)
    file.seek(0)
    if kind := NO_TEXT.get(start):
        said = "This is %(kind)s and no text. Open it and save it as CSV (UTF-8)."
        raise _malformed(Sentence(said, kind=kind))
    codec = ENCODINGS[encoding]
    codec = next((named for mark, named in MARKS.items() if start.startswith(mark)), codec)
    if codec == UTF_8:
        if b"\x00" in start:
            said = "It begins with a NUL. If this is UTF-16, say so: encoding=utf-16."
            raise _malformed(Sentence(said))
        yield file
        return
    with SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as text:
        _recode(file, text, codec)
        text.seek(0)
        yield cast(BinaryIO, text)


def _recode(file: BinaryIO, to: "SpooledTemporaryFile[bytes]", codec: str) -> None:
    decoder = codecs.getincrementaldecoder(codec)(errors="replace")
    lines = 1
    while raw := file.read(PIECE_BYTES):
        lines = _written(decoder.decode(raw), to, codec, lines)
    _written(decoder.decode(b"", final=True), to, codec, lines)


def _written(text: str, to: "SpooledTemporaryFile[bytes]", codec: str, line: int) -> int:
    """The number of the line in which this piece ends."""
    if (position := text.find(UNREADABLE)) >= 0:
        line += text.count("\n", 0, position)
        said = "Line %(line)s is not %(codec)s. Save the file as UTF-8, or say how it is written."
        raise _malformed(Sentence(said, line=line, codec=codec))
    to.write(text.encode())
    return line + text.count("\n")


def _malformed(detail: str) -> Refused:
    return Refused("malformed-import", detail, errors=[("", detail)])
