"""The process of threads: it claims due jobs, as many as it has room for, and runs each in a
thread.

It does not listen to the broker. The worker's main process wakes it when a bell comes, and without
any it looks into Postgres every THREADS_LOOK_S; so a lost bell costs no more than that. A thread
uses a connection to Postgres for its statements and not during its call: THREADS_CONNECTIONS serve
all threads. A thread makes one call after another, since to begin a thread (with its own objects of
Django and Celery) costs as much as a quick call.
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
    """An attempt in a thread, and its time limits.

    The limits are for its body only. What is raised while the ledger writes how the attempt ended
    would keep that from being written.
    """

    attempt: Attempt
    soft_s: float | None
    hard_s: float
    began: float = field(default_factory=monotonic)
    thread: threading.Thread | None = None  # that makes it; None until it begins
    was_told: bool = False  # its soft limit was raised in its thread
    is_over: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def has_left(self) -> bool:
        """Whether the call or its thread has ended."""
        return self.is_over or (self.thread is not None and not self.thread.is_alive())

    def tell(self) -> None:
        """Raise SoftTimeLimitExceeded in the call's thread, as Celery does in a process."""
        with self._lock:
            if self.thread is not None and not self.is_over:
                self.was_told = True
                _raise_in(self.thread, SoftTimeLimitExceeded)

    def end(self) -> None:
        """Note that the call is over: from now on nothing is raised in its thread for it."""
        with self._lock:
            self.is_over = True

    @property
    def is_late(self) -> bool:
        """Whether its body has run for longer than the soft limit."""
        return self.soft_s is not None and self._has_run_for(self.soft_s)

    @property
    def is_stuck(self) -> bool:
        """Whether its body has run for longer than the hard limit."""
        return self._has_run_for(self.hard_s)

    def _has_run_for(self, limit_s: float) -> bool:
        return self.attempt.in_body and monotonic() - self.began > limit_s


class Threads:
    """All calls of the process. Only the process's first thread, in `run`, changes its attributes.

    `read_end` is that of the pipe of `publishing.waking`. `pulse` is one byte that is shared with
    the worker's main process: it changes as long as this process moves.
    """

    def __init__(self, app: Celery, hostname: str, *, read_end: int, pulse: mmap) -> None:
        self.app = app
        self.hostname = hostname
        self.tasks = threaded_tasks(app)
        self.queues = list(app.amqp.queues.consume_from)
        self.calls: list[Call] = []
        self._hands: set[threading.Thread] = set()  # the threads that make them
        # calls that no thread has taken yet, each with its bell
        self._begun: queue.SimpleQueue[tuple[Call, dict[str, Any]]] = queue.SimpleQueue()
        self._low_waters = {queue: LowWater("due_at", queue) for queue in self.queues}
        self.leaving = False
        self._found = False  # the last look found jobs, so there may be more
        self._patience = Patience()
        self._read_end, self._pulse = read_end, pulse
        self._in_trouble = False

    def run(self) -> None:
        """Make calls until LEAVE was heard and every call has ended. The process ends at once when
        all calls that are left are past their hard limits.
        """
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
        """Claim and begin the due jobs for which there is room; trouble with Postgres is logged
        once.
        """
        self._found = False
        try:
            marks = {queue: low_water.mark for queue, low_water in self._low_waters.items()}
            jobs = due.of_each_owner(self._rooms(), tasks=sorted(self.tasks), marks=marks)
            self._take(jobs)
            self._found = bool(jobs)
            for job in jobs:
                self._patience.took_from(job.queue)
            self._in_trouble = False
        except Error as exc:
            if not self._in_trouble:
                log.error("No call can begin, Postgres is in trouble: %s", exc)
            self._in_trouble = True
        finally:
            connections.close_all()

    def _rooms(self) -> dict[str, int]:
        """The queues in the order to look into them, and how many calls may begin in all up to
        each.

        THREADS_KEPT places are kept for each queue that comes before. Only a few calls begin
        together, of bulk work even fewer, so that the next ones need not wait behind them for a
        connection to Postgres.
        """
        free = ledger_settings.THREADS_MAX - len(self.calls)
        late = self._patience.late(self.queues)
        rooms = {name: max(0, min(free, number)) for number, name in enumerate(late, 1)}
        for place, name in enumerate(self.queues):
            kept = place * ledger_settings.THREADS_KEPT
            rooms.setdefault(name, max(0, min(_begin_together(name), free - kept)))
        return rooms

    def _take(self, due_jobs: list[Due]) -> None:
        """Claim these jobs, those of one kind together, and begin a call for each claim."""
        for _, alike in groupby(sorted(due_jobs, key=_kind), key=_kind):
            jobs = list(alike)
            task = self.tasks[jobs[0].task]
            for claimed in _claimed([job.id for job in jobs], task, jobs[0].limits):
                self._begin(task, claimed, jobs[0])

    def _begin(self, task: Task, claim: Claim, job: Due) -> None:
        """Hand a call of this claim to the threads. `job` is of the same kind."""
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
        """Begin threads until there are as many as calls, so that no call waits for a thread."""
        while len(self._hands) < len(self.calls):
            hand = threading.Thread(target=self._work, name="ledger-call", daemon=True)
            self._hands.add(hand)
            hand.start()

    def _work(self) -> None:
        """Make one call after another; each thread runs this.

        A thread in which a soft limit was raised ends after its call, since the exception may still
        come, later than the call's end.
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
        """Wait for WAKE or LEAVE, THREADS_LOOK_S at most, or not at all when the last look found
        jobs. Then forget the calls that have ended.
        """
        sleep(ledger_settings.THREADS_PACE_S)  # words that come together are heard together
        patience_s = 0 if self._found else ledger_settings.THREADS_LOOK_S
        if select.select([self._read_end], [], [], patience_s)[0]:
            heard = os.read(self._read_end, 4096)
            self.leaving = self.leaving or LEAVE in heard
        self.calls = [call for call in self.calls if not call.has_left]
        self._hands = {hand for hand in self._hands if hand.is_alive()}
        self._hire()  # for threads that an error has ended

    def _look_at_the_time(self) -> None:
        """Raise the soft limit in calls that are past it. When a call is past its hard one, begin
        to leave: the process ends when all other calls have ended.
        """
        for call in self.calls:
            if call.is_late and not call.was_told:
                call.tell()
                self._hands -= {call.thread}
            if call.is_stuck and not self.leaving:
                id_ = call.attempt.claim.id
                log.error("Call %s does not heed its time limit of %g s", id_, call.hard_s)
                self.leaving = True


def serve_in_threads(
    app: Celery, hostname: str, *, read_end: int, write_end: int, pulse: mmap
) -> None:
    """Run the process of threads, from its fork to its end."""
    from celery.concurrency.prefork import process_destructor, process_initializer  # noqa: PLC0415

    _let_go_of_what_is_the_parents(keep={read_end, write_end})
    process_initializer(app, hostname)
    _share_few_connections()
    Threads(app, hostname, read_end=read_end, pulse=pulse).run()
    process_destructor(os.getpid(), os.EX_OK)


def _share_few_connections() -> None:
    """Let all threads of this process take their connections from one small pool."""
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
    """How many calls of this queue may begin together."""
    is_bulk = name == ledger_settings.BULK_QUEUE
    return ledger_settings.THREADS_BEGIN_BULK if is_bulk else ledger_settings.THREADS_BEGIN


def _waiting_for_postgres() -> int:
    """The number of calls that wait for a connection of the pool."""
    pool = getattr(connection, "pool")  # noqa: B009 - Django's stubs do not know it
    return int(pool.get_stats().get("requests_waiting", 0))


def _let_go_of_what_is_the_parents(keep: set[int]) -> None:
    """Close the file descriptors that were inherited from the main process, all but these and the
    standard ones: else a socket would stay open here after the main process has closed it.

    Each is replaced by /dev/null, so that an inherited object that still uses it does no harm.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    keep |= {0, 1, 2, nowhere}
    for number in [int(name) for name in os.listdir("/dev/fd")]:
        if number not in keep:
            try:
                os.dup2(nowhere, number)
            except OSError:  # the descriptor that listed the folder
                continue


def _claimed(ids: list[UUID], task: Task, limits: Sequence[float | None]) -> Iterator[Claim]:
    """Claim these jobs of one task; one by one and in their order if the task has limits."""
    if not task.is_limited:
        yield from claim(ids, task, limits)
        return
    for id_ in ids:
        yield from claim_within(id_, task, limits)


def _kind(job: Due) -> tuple[str, str]:
    """A key by which due jobs are grouped: one statement may claim those that have the same."""
    return job.task, f"{job.queue} {job.limits}"


def _raise_in(thread: threading.Thread, kind: type[BaseException]) -> None:
    """Let Python raise this in the thread, between two of its instructions."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(kind)
    )
