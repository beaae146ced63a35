"""Where processes run that chaos may kill: what falls there is started again, and who ended by
itself is noted.
"""

import heapq
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count

from tests.promises.processes import Tree, children_of


class NotNow(Exception):
    """There is nothing to break at the moment; no fault was injected."""


class Agenda:
    """What has to happen later: every fault ends."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._entries, (time.monotonic() + delay_s, next(self._order), act))

    def run_due(self) -> None:
        while self._entries and self._entries[0][0] <= time.monotonic():
            heapq.heappop(self._entries)[2]()

    def run_all(self) -> None:
        while self._entries:
            heapq.heappop(self._entries)[2]()


class Place:
    """One process tree at a time."""

    def __init__(self, name: str, start: Callable[[], Tree]) -> None:
        self.name = name
        self._start = start
        self.tree = start()
        self.is_sentenced = False  # we have told it to end
        self.is_frozen = False

    @property
    def is_up(self) -> bool:
        return self.tree.process.poll() is None

    @property
    def is_well(self) -> bool:
        return self.is_up and not self.is_frozen and not self.is_sentenced

    @property
    def children(self) -> list[int]:
        return children_of(self.tree.process.pid)

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self.tree.signal(number)

    def kill(self) -> None:
        self.is_sentenced = True
        self.tree.kill()

    def kill_parent(self) -> None:
        """Its orphans may live on for a moment, and finish what they have begun."""
        self.is_sentenced = True
        kill(self.tree.process.pid, signal.SIGKILL)
        self.tree.process.wait(timeout=10)

    def stop_politely(self) -> None:
        self.is_sentenced = True
        self.signal(signal.SIGTERM)

    def freeze(self, agenda: Agenda, seconds: float) -> None:
        self.is_frozen = True
        self.signal(signal.SIGSTOP)
        agenda.later(seconds, partial(self._thaw, self.tree))

    def start_again(self) -> None:
        """Whatever still runs here is killed first."""
        self.kill()
        self.tree = self._start()
        self.is_sentenced = self.is_frozen = False

    def _thaw(self, frozen: Tree) -> None:
        with suppress(ProcessLookupError):
            frozen.signal(signal.SIGCONT)
        if self.tree is frozen:
            self.is_frozen = False


def kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
