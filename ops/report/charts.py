"""Figures as bars."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, GAP = 600, 100, 2  # of the picture, and between two bars


@dataclass(frozen=True)
class Bar:
    """Whole numbers in the picture's own unit; the tallest value fills its height."""

    x: int
    y: int
    width: int
    height: int
    value: int
    name: str


def bars(values: Sequence[tuple[str, int]], *, places: int) -> list[Bar]:
    """A bar of each pair of a name and a value, as broad as if there were `places` of them at
    least. A value below 0 has no height.
    """
    most = max((value for _name, value in values), default=0)
    width = WIDTH // max(len(values), places)
    found = []
    for place, (name, value) in enumerate(values):
        height = HEIGHT * max(value, 0) // most if most > 0 else 0
        found.append(Bar(place * width, HEIGHT - height, width - GAP, height, value, name))
    return found
