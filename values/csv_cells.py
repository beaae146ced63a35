"""Cells of CSV files. Of those that we hand out a spreadsheet shows each, and computes none; those
that come in are read as they were meant.
"""

from collections.abc import Sequence

from values.identity import GUARDED

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: full-width
CONTROL = ("\t", "\r", "\n")


def harmless(text: str) -> str:
    """The text for a cell: with an apostrophe before it where a spreadsheet would take it for a
    formula, and where it looks as if that had been done already.
    """
    if text.startswith(CONTROL) or text.lstrip(" '").startswith(FORMULA):
        return f"'{text}"
    return text


def as_meant(cell: str) -> str:
    """The text of which `harmless` has made this cell."""
    return cell[1:] if cell.startswith("'") and harmless(cell[1:]) == cell else cell


def plain(cells: Sequence[str]) -> list[str]:
    """The cells without spaces around them, and without what tells a spreadsheet that 0017 is no
    number and -1 no formula.
    """
    bare = [cell.strip() for cell in cells]
    row = "".join(bare)  # most rows have nothing of the kind
    if '="' in row:
        bare = [GUARDED.sub(r"\1", cell).strip() for cell in bare]
    return [as_meant(cell) for cell in bare] if "'" in row else bare
