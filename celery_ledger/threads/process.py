"""What runs in the process of the threads: it takes due jobs out of Postgres, as many as it has
room for, and gives each a thread. A thread that has made one makes the next: what a thread begins
with (its own objects of Django and Celery) costs as much as a quick call.

It hears no broker. A bell in the worker's main process wakes it, and without one it looks every
THREADS_LOOK_S, so a bell that is lost costs no more than that. A thread holds a connection to
Postgres for its statements and not for its call: THREADS_CONNECTIONS serve all of them.
"""

import contextvars
import ctypes
import logging
import os
import queue
import select
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from mmap import mmap
from time import monotonic, sleep
from typing import Any
from uuid import UUID

from celery import Celery, Task
from celery.exceptions import SoftTimeLimitExceeded
from django.db import Error, connection, connections

from celery_ledger.celery.transport import Patience
from celery_ledger.conf import ledger_settings
from celery_ledger.execution import answering
from celery_ledger.execution.claiming import claim
from celery_ledger.execution.current import Attempt
from celery_ledger.execution.lending import run_in_threads
from celery_ledger.execution.limited import claim_within
from celery_ledger.models import Claim
from celery_ledger.models.jobs import due
from celery_ledger.models.jobs.due import Due
from celery_ledger.models.jobs.low_water import LowWater
from celery_ledger.publishing.waking import LEAVE, WAKE, say, threaded_tasks

log = logging.getLogger(__name__)


@dataclass
class Call:
    """An attempt in its thread, with the limits of its time. They are its body's: whoever is told
    while the ledger writes down how it ended would leave nothing written.
    """

    attempt: Attempt
    soft_s: float | None
    hard_s: float
    began: float = field(default_factory=monotonic)
    thread: threading.Thread | None = None  # that makes it
    was_told: bool = False
    is_over: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def has_left(self) -> bool:
        """It is over, or its thread is."""
        return self.is_over or (self.thread is not None and not self.thread.is_alive())

    def tell(self) -> None:
        """Raise the soft time limit in its thread, as Celery does in a process."""
        with self._lock:
            if self.thread is not None and not self.is_over:
                self.was_told = True
                _raise_in(self.thread, SoftTimeLimitExceeded)

    def end(self) -> None:
        """From now on nothing is raised in its thread for it."""
        with self._lock:
            self.is_over = True

    @property
    def is_late(self) -> bool:
        return self.soft_s is not None and self._is_over(self.soft_s)

    @property
    def is_stuck(self) -> bool:
        return self._is_over(self.hard_s)

    def _is_over(self, limit_s: float) -> bool:
        return self.attempt.in_body and monotonic() - self.began > limit_s


class Threads:
    """All calls of one process. Only `run` changes what is on it, in the process's first thread."""

    def __init__(self, app: Celery, hostname: str, *, ears: int, pulse: mmap) -> None:
        self.app = app
        self.hostname = hostname
        self.tasks = threaded_tasks(app)
        self.queues = list(app.amqp.queues.consume_from)
        self.calls: list[Call] = []
        self._hands: set[threading.Thread] = set()  # which make them, one each
        self._begun: queue.SimpleQueue[tuple[Call, dict[str, Any]]] = queue.SimpleQueue()
        self._low_waters = {queue: LowWater("due_at", queue) for queue in self.queues}
        self.leaving = False
        self._found = False  # by the last look, so there may be more
        self._patience = Patience()
        self._ears, self._pulse = ears, pulse
        self._in_trouble = False

    def run(self) -> None:
        """Until it is told to leave and every call has ended; a call that never ends is left."""
        while not self.leaving or self.calls:
            self._pulse[0] = (self._pulse[0] + 1) % 256
            if not self.leaving and _waiting_for_postgres() <= ledger_settings.THREADS_IN_LINE:
                self._take_what_is_due()
            self._listen()
            self._look_at_the_time()
            if self.calls and all(call.is_stuck for call in self.calls):
                log.error(
                    "%d calls do not heed their time limits; this process ends", len(self.calls)
                )
                os._exit(os.EX_SOFTWARE)

    def _take_what_is_due(self) -> None:
        self._found = False
        try:
            marks = {queue: low_water.mark for queue, low_water in self._low_waters.items()}
            found = due.of_each_owner(self._rooms(), tasks=sorted(self.tasks), marks=marks)
            self._take(found)
            self._found = bool(found)
            for job in found:
                self._patience.took_from(job.queue)
            self._in_trouble = False
        except Error as exc:
            if not self._in_trouble:
                log.error("No call can begin, Postgres is in trouble: %s", exc)
            self._in_trouble = True
        finally:
            connections.close_all()

    def _rooms(self) -> dict[str, int]:
        """How many calls may begin up to each queue: some room is kept for the queues before it,
        and few begin together, of bulk work even fewer, so that whoever comes next does not stand
        behind them for Postgres.
        """
        free = ledger_settings.THREADS_MAX - len(self.calls)
        late = self._patience.late(self.queues)
        rooms = {name: max(0, min(free, number)) for number, name in enumerate(late, 1)}
        for place, name in enumerate(self.queues):
            kept = place * ledger_settings.THREADS_KEPT
            rooms.setdefault(name, max(0, min(_begin_together(name), free - kept)))
        return rooms

    def _take(self, jobs_due: list[Due]) -> None:
        for _, alike in groupby(sorted(jobs_due, key=_kind), key=_kind):
            jobs = list(alike)
            task = self.tasks[jobs[0].task]
            for taken in _claimed([job.id for job in jobs], task, jobs[0].limits):
                self._begin(task, taken, jobs[0])

    def _begin(self, task: Task, claim: Claim, job: Due) -> None:
        hard_s, soft_s = job.limits
        bell = {
            "id": str(claim.id),
            "task": task.name,
            "lang": "py",
            "timelimit": job.limits,
            "hostname": self.hostname,
            "delivery_info": {"exchange": "", "routing_key": job.queue, "redelivered": False},
        }
        call = Call(Attempt(task, claim), soft_s or task.soft_time_limit, hard_s or task.time_limit)
        self.calls.append(call)
        self._begun.put((call, bell))
        self._hire()

    def _hire(self) -> None:
        """As many hands as there are calls: none waits behind another."""
        while len(self._hands) < len(self.calls):
            hand = threading.Thread(target=self._work, name="ledger-call", daemon=True)
            self._hands.add(hand)
            hand.start()

    def _work(self) -> None:
        """One call after another, in a thread. One that was told of a time limit leaves: what is
        raised in a thread may come late.
        """
        while True:
            call, bell = self._begun.get()
            call.thread = threading.current_thread()
            try:
                contextvars.Context().run(self._make, call.attempt, bell)
                call.end()
            finally:
                say(WAKE)
            if call.was_told:
                return

    def _make(self, attempt: Attempt, bell: dict[str, Any]) -> None:
        try:
            answering.trace_claimed(attempt, attempt.task.tracer, bell)
        finally:
            connections.close_all()

    def _listen(self) -> None:
        """For a bell, for a call that ends, and for the word to leave; those that come together are
        heard together. Only as long as it takes to hear them, when there may be more to begin.
        """
        sleep(ledger_settings.THREADS_PACE_S)
        patience_s = 0 if self._found else ledger_settings.THREADS_LOOK_S
        if select.select([self._ears], [], [], patience_s)[0]:
            heard = os.read(self._ears, 4096)
            self.leaving = self.leaving or LEAVE in heard
        self.calls = [call for call in self.calls if not call.has_left]
        self._hands = {hand for hand in self._hands if hand.is_alive()}
        self._hire()  # in the place of one that an error has ended

    def _look_at_the_time(self) -> None:
        """Past its hard time limit a call is left alone, and takes the process with it when no
        other is left in it.
        """
        for call in self.calls:
            if call.is_late and not call.was_told:
                call.tell()
                self._hands -= {call.thread}
            if call.is_stuck and not self.leaving:
                id_ = call.attempt.claim.id
                log.error("Call %s does not heed its time limit of %g s", id_, call.hard_s)
                self.leaving = True


def serve_in_threads(app: Celery, hostname: str, *, ears: int, mouth: int, pulse: mmap) -> None:
    """The whole life of the process, after it was forked."""
    from celery.concurrency.prefork import process_destructor, process_initializer  # noqa: PLC0415

    _let_go_of_what_is_the_parents(keep={ears, mouth})
    process_initializer(app, hostname)
    _share_few_connections()
    Threads(app, hostname, ears=ears, pulse=pulse).run()
    process_destructor(os.getpid(), os.EX_OK)


def _share_few_connections() -> None:
    run_in_threads()
    connections.close_all()
    default = connections.settings["default"]
    most = ledger_settings.THREADS_CONNECTIONS
    default["OPTIONS"] = {
        **default.get("OPTIONS", {}),
        "pool": {"min_size": 0, "max_size": most, "timeout": ledger_settings.THREADS_PATIENCE_S},
    }
    default["CONN_MAX_AGE"], default["CONN_HEALTH_CHECKS"] = 0, False
    del connections["default"]  # made anew, with these settings


def _begin_together(name: str) -> int:
    is_bulk = name == ledger_settings.BULK_QUEUE
    return ledger_settings.THREADS_BEGIN_BULK if is_bulk else ledger_settings.THREADS_BEGIN


def _waiting_for_postgres() -> int:
    """Calls that wait for a connection: behind many, no other begins."""
    pool = getattr(connection, "pool")  # noqa: B009 - Django's stubs do not know it
    return int(pool.get_stats().get("requests_waiting", 0))


def _let_go_of_what_is_the_parents(keep: set[int]) -> None:
    """Its sockets and pipes: who holds one as well keeps it open when the parent has closed it.
    Their numbers stay taken, so that objects which still know them can do no harm.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    keep |= {0, 1, 2, nowhere}
    for number in [int(name) for name in os.listdir("/dev/fd")]:
        if number not in keep:
            try:
                os.dup2(nowhere, number)
            except OSError:  # the one that listed the folder
                continue


def _claimed(ids: list[UUID], task: Task, limits: Sequence[float | None]) -> Iterator[Claim]:
    """Within limits one by one: what comes first takes the place."""
    if not task.is_limited:
        yield from claim(ids, task, limits)
        return
    for id_ in ids:
        yield from claim_within(id_, task, limits)


def _kind(job: Due) -> tuple[str, str]:
    """What one claim may be made for."""
    return job.task, f"{job.queue} {job.limits}"


def _raise_in(thread: threading.Thread, kind: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(kind)
    )
