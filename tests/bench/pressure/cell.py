"""What one pressure did, by the ledger's own rows and the clock of Postgres."""

import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import LiteralString, NamedTuple

from tests.bench.pressure.belt import TABLE, TASK, Belt, Moment

PHASE: LiteralString = f"""
SELECT count(*), coalesce(extract(epoch FROM percentile_cont(0.95) WITHIN GROUP (
                     ORDER BY finished_at - created_at)), 0)::float8
  FROM {TABLE} WHERE task = %s AND state = 'done'
   AND finished_at >= to_timestamp(%s) AND finished_at < to_timestamp(%s)"""
CAUGHT_UP: LiteralString = f"""
SELECT greatest(0, extract(epoch FROM max(finished_at)) - %s)::float8
  FROM {TABLE} WHERE task = %s AND created_at < to_timestamp(%s)"""
AGAIN: LiteralString = f"SELECT count(*) FROM {TABLE} WHERE task = %s AND attempts > 1"
LINE = "{:20}" + " {:>8}" * 15
HEAD = LINE.format(
    "",
    *("strikes", "before/s", "during/s", "after/s", "÷ before", "done in"),
    *("p95 ms", "after", "CPU ms", "after", "again", "ended", "promised", "lost", "doubled"),
)


class Phase(NamedTuple):
    per_s: float  # jobs that were done
    p95_s: float  # from promised to done
    cpu_s: float  # of the worker and Postgres, a job


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
            f"{self.after.per_s / (self.before.per_s or math.inf):.0%}",
            f"{self.caught_up_s:.1f} s",
            *(f"{phase.p95_s * 1000:.0f}" for phase in (self.before, self.after)),
            *(f"{phase.cpu_s * 1000:.2f}" for phase in (self.before, self.after)),
            *(self.again, self.ended, self.promised, self.lost, self.doubled),
        )


def measured(
    belt: Belt, pressure: str, strikes: int, moments: list[Moment], promised: Counter[int]
) -> Cell:
    """Of a belt that is drained. The moments are those between which its three phases lie."""
    done, taken_away = belt.done(), moments[2].unix_s
    before, during, after = (phase(belt, *ends) for ends in pairwise(moments))
    [caught_up_s] = belt.figures(CAUGHT_UP, taken_away, TASK, taken_away)
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


def phase(belt: Belt, first: Moment, last: Moment) -> Phase:
    number, p95_s = belt.figures(PHASE, TASK, first.unix_s, last.unix_s)
    return Phase(
        number / (last.unix_s - first.unix_s), p95_s, (last.cpu_s - first.cpu_s) / max(1, number)
    )
