"""Visits every world that can be reached, the nearest first, so that a trace found is a shortest one."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tests.model.invariants import FINISHED, INVARIANTS
from tests.model.protocol import steps
from tests.model.world import Rules, World, promise

type Invariant = Callable[[World, World, Rules], bool]

SURVIVORS = ({"w1", "clock", "lease"}, {"w2", "clock", "lease"})  # one worker and its clock; time passes


@dataclass(frozen=True)
class Finding:
    """How many worlds there are, and how the first one that breaks a promise is reached."""

    states: int
    broken: str | None = None
    trace: tuple[str, ...] = ()


def explore(rules: Rules, *, invariants: tuple[Invariant, ...] = INVARIANTS) -> Finding:
    """Visit all worlds; stop at the first that breaks an invariant, then look for one that can never end."""
    first = promise(rules)
    reached: dict[World, tuple[World, str] | None] = {first: None}
    survived: list[dict[World, list[World]]] = [{} for _ in SURVIVORS]
    queue = deque([first])
    while queue:
        before = queue.popleft()
        for who, what, after in steps(before, rules):
            for survivors, back in zip(SURVIVORS, survived, strict=True):
                if who in survivors:
                    back.setdefault(after, []).append(before)
            new = after not in reached
            if new:
                reached[after] = (before, f"{_name(before, who)} {what}")
                queue.append(after)
            for invariant in invariants:
                if not invariant(before, after, rules):
                    last = f"{_name(before, who)} {what}"
                    return Finding(len(reached), invariant.__name__, (*_trace(reached, before), last))
    for back in survived:
        if stuck := _never_ending(reached, back):
            return Finding(len(reached), "one_survivor_ends_every_job", _trace(reached, stuck))
    return Finding(len(reached))


def _never_ending(reached: dict[World, tuple[World, str] | None], back: dict[World, list[World]]) -> World | None:
    """The nearest world from which the survivors cannot end all jobs, if there is one."""
    ending = {world for world in reached if all(job.state in FINISHED for job in world.ledger.jobs)}
    queue = list(ending)
    while queue:
        new = [before for before in back.get(queue.pop(), ()) if before not in ending]
        ending.update(new)
        queue.extend(new)
    return next((world for world in reached if world not in ending), None)


def _trace(reached: dict[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
    lines = []
    while step := reached[world]:
        world, line = step
        lines.append(line)
    return tuple(reversed(lines))


def _name(world: World, who: str) -> str:
    """A worker whose job was given to somebody else meanwhile is a ghost."""
    if who not in ("w1", "w2"):
        return f"{who:8}"
    worker, job = world.attempt(int(who[1]) - 1)
    return f"{who:8}" if worker.phase == "idle" or worker.holds(job) else f"{who} ghost"
