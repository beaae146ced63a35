"""Cells of the CSV files that we hand out: a spreadsheet shows them, and computes none of them."""

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: full-width
CONTROL = ("\t", "\r", "\n")


def harmless(text: str) -> str:
    """The text, with an apostrophe before it where a spreadsheet would take it for a formula, and
    where it begins like one that we have put an apostrophe before.
    """
    return f"'{text}" if text.startswith(CONTROL) or text.lstrip(" '").startswith(FORMULA) else text


def as_meant(cell: str) -> str:
    """What the text was that `harmless` has made this cell of."""
    return cell[1:] if cell.startswith("'") and harmless(cell[1:]) == cell else cell
