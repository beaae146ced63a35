"""How a server of the outside world treats whoever calls: mostly well. Seeded, so that a run can be
repeated.
"""

from enum import StrEnum
from random import Random

HANG_S = 1.0


class Mood(StrEnum):
    TAKE = "take"  # and say so
    REFUSE = "refuse"  # for now
    HANG = "hang"  # take it, but say so late
    FORGET = "forget"  # take it and never say so


WEIGHTS = {Mood.TAKE: 86, Mood.REFUSE: 8, Mood.HANG: 3, Mood.FORGET: 3}


def mood(dice: Random) -> Mood:
    return dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
