"""What one pressure did, by the ledger's own rows and the clock of Postgres."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import LiteralString, NamedTuple

from tests.bench.pressure.belt import TABLE, TASK, Belt

PHASE: LiteralString = f"""
SELECT count(*), coalesce(extract(epoch FROM percentile_cont(0.95) WITHIN GROUP (
                     ORDER BY finished_at - created_at)), 0)::float8
  FROM {TABLE} WHERE task = %s AND state = 'done'
   AND finished_at >= to_timestamp(%s) AND finished_at < to_timestamp(%s)"""
CAUGHT_UP: LiteralString = f"""
SELECT greatest(0, extract(epoch FROM max(finished_at)) - %s)::float8
  FROM {TABLE} WHERE task = %s AND created_at < to_timestamp(%s)"""
AGAIN: LiteralString = f"SELECT count(*) FROM {TABLE} WHERE task = %s AND attempts > 1"
LINE = "{:20} {:>7} {:>8} {:>8} {:>7} {:>8} {:>9} {:>7} {:>7} {:>6} {:>6} {:>8} {:>5} {:>7}"
HEAD = LINE.format(
    "",
    *("strikes", "before/s", "during/s", "after/s", "÷ before", "done in s", "p95 ms", "after"),
    *("again", "ended", "promised", "lost", "doubled"),
)


class Phase(NamedTuple):
    per_s: float  # jobs that were done
    p95_s: float  # from promised to done


@dataclass(frozen=True)
class Cell:
    pressure: str
    strikes: int
    before: Phase
    during: Phase
    after: Phase
    caught_up_s: float  # after it was taken away, until all that was promised by then was done
    again: int  # jobs that needed another attempt
    ended: int  # workers, by themselves
    promised: int
    lost: int
    doubled: int

    def __str__(self) -> str:
        return LINE.format(
            self.pressure,
            self.strikes,
            *(f"{phase.per_s:.0f}" for phase in (self.before, self.during, self.after)),
            f"{self.after.per_s / self.before.per_s:.0%}",
            f"{self.caught_up_s:.1f}",
            *(f"{phase.p95_s * 1000:.0f}" for phase in (self.before, self.after)),
            *(self.again, self.ended, self.promised, self.lost, self.doubled),
        )


def measured(
    belt: Belt, pressure: str, strikes: int, ends: list[float], promised: Counter[int]
) -> Cell:
    """Of a belt that is drained. `ends` are those of its phases, after the moment it began."""
    done = belt.done()
    before, during, after = (phase(belt, *moments) for moments in pairwise(ends))
    [caught_up_s] = belt.figures(CAUGHT_UP, ends[2], TASK, ends[2])
    [again] = belt.figures(AGAIN, TASK)
    return Cell(
        pressure,
        strikes,
        before,
        during,
        after,
        caught_up_s,
        again,
        belt.ended,
        promised.total(),
        lost=(promised - done).total(),
        doubled=(done - promised).total(),
    )


def phase(belt: Belt, began: float, ended: float) -> Phase:
    number, p95_s = belt.figures(PHASE, TASK, began, ended)
    return Phase(number / (ended - began), p95_s)
