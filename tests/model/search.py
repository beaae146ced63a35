"""Visits every world that can be reached, the nearest first, so that a trace found is a shortest
one.
"""

from dataclasses import dataclass, field

from tests.model.invariants import FINISHED, PROMISES, the_end_is_the_end
from tests.model.protocol import steps
from tests.model.world import Rules, World, promise

# I5 and I6: each world has a way to an end that needs one worker and a clock
LIVENESS = "one_survivor_ends_every_job"
SURVIVORS = ("w1", "w2")


@dataclass(frozen=True)
class Finding:
    """How many worlds there are, and how the first one that breaks a promise is reached."""

    states: int
    broken: str | None = None
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        steps = "".join(f"\n{number:3}. {line}" for number, line in enumerate(self.trace, 1))
        return f"{self.broken or 'nothing is broken'}, {self.states} states{steps}"


@dataclass
class Map:
    """The worlds in the order of their discovery, and how each was first reached."""

    worlds: list[World] = field(default_factory=list)
    number: dict[World, int] = field(default_factory=dict)
    # from which world, who did what
    reached: list[tuple[int, str, str]] = field(default_factory=list)
    # from which worlds it follows, by whom
    before: list[list[tuple[int, str]]] = field(default_factory=list)

    def visit(self, world: World, there: int, who: str, what: str) -> int:
        """The number of a world that follows from there; a new one gets the next."""
        here = self.number.setdefault(world, len(self.worlds))
        if here == len(self.worlds):
            self.worlds.append(world)
            self.reached.append((there, who, what))
            self.before.append([])
        self.before[here].append((there, who))
        return here

    def trace(self, here: int) -> tuple[str, ...]:
        lines = []
        while here:
            here, who, what = self.reached[here]
            lines.append(f"{_name(self.worlds[here], who)} {what}")
        return tuple(reversed(lines))


def explore(rules: Rules, *, only: str | None = None) -> Finding:
    """Visit all worlds until a promise is broken: any of them, or the only one looked for."""
    atlas = Map()
    atlas.visit(promise(rules), 0, "", "")
    for here, before in enumerate(atlas.worlds):  # grows while it is read
        for who, what, after in steps(before, rules):
            count = len(atlas.worlds)
            there = atlas.visit(after, here, who, what)
            for promised in PROMISES if there == count else (the_end_is_the_end,):
                if only in (None, promised.__name__) and not promised(before, after, rules):
                    last = f"{_name(before, who)} {what}"
                    return Finding(len(atlas.worlds), promised.__name__, (*atlas.trace(here), last))
    for survivor in SURVIVORS if only in (None, LIVENESS) else ():
        if (stuck := _never_ending(atlas, survivor)) is not None:
            end = f"{survivor} and the clock cannot end every job"
            return Finding(len(atlas.worlds), LIVENESS, (*atlas.trace(stuck), end))
    return Finding(len(atlas.worlds))


def _never_ending(atlas: Map, survivor: str) -> int | None:
    """The nearest world from which one survivor cannot end all jobs, if there is one."""
    ends = [all(job.state in FINISHED for job in world.ledger.jobs) for world in atlas.worlds]
    queue = [here for here, end in enumerate(ends) if end]
    while queue:
        for before, who in atlas.before[queue.pop()]:
            if not ends[before] and who in (survivor, "clock"):
                ends[before] = True
                queue.append(before)
    return next((here for here, end in enumerate(ends) if not end), None)


def _name(world: World, who: str) -> str:
    """A worker whose job was taken from it meanwhile is a ghost."""
    if who not in SURVIVORS:
        return who
    worker, job = world.attempt(SURVIVORS.index(who))
    its_own = job.token == worker.token and job.state in ("running", "done")
    return who if worker.phase == "idle" or its_own else f"{who} (ghost)"
