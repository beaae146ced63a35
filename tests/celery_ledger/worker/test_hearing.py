"""A deaf worker, as its clock sees it. Seconds pass only when a test says so."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import current_app as celery_app
from celery.bootsteps import RUN, TERMINATE
from celery.concurrency import prefork, solo
from celery.worker import state
from django.utils import timezone

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job, Pause, PauseKind
from celery_ledger.worker import hearing as module
from celery_ledger.worker import shutdown
from celery_ledger.worker.hearing import Deaf, Hearing
from celery_ledger.worker.rescuer import Rescuer
from tests.celery_ledger import tasks

pytestmark = pytest.mark.django_db(transaction=True)
PIDS = [11, 12]
RUNG, ANEW, REPLACED, ENDS = (
    "they are rung, whoever's turn it is.",
    "its consumer connects anew.",
    "its idle processes are replaced.",
    "it ends, for the platform to start it anew.",
)


class Request:
    """A stand-in for Celery's request, with what is read of it. Celery's sets hold weak references,
    so the test keeps it.
    """

    def __init__(self, id_: str, **facts: Any) -> None:
        self.id = id_
        self.__dict__.update(facts)


class Watched:
    """A stand-in for a worker's main process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self.now, self.queued = 1000.0, no_bells()
        self.caplog, self.asked, self.killed = caplog, list[Any](), list[int]()
        worker = uuid4()
        self.parent = SimpleNamespace(
            app=celery_app,
            hostname="celery@nowhere",
            clock=SimpleNamespace(
                ringer=SimpleNamespace(unrung=[], paused=set()), rescuer=Rescuer(celery_app, worker)
            ),
            pool_cls=prefork.TaskPool,
            pool=SimpleNamespace(num_processes=2, info={"processes": PIDS}),
            consumer=SimpleNamespace(connection=object(), restart_count=0),
            hub=SimpleNamespace(call_soon=self.asked.append),
            blueprint=SimpleNamespace(state=RUN),
        )
        monkeypatch.setattr(module, "monotonic", lambda: self.now)
        monkeypatch.setattr(os, "kill", lambda pid, _: self.killed.append(pid))
        monkeypatch.setattr(state, "should_stop", None)
        monkeypatch.setattr(state, "all_total_count", [0])
        self.hearing = Hearing(self.parent, worker)

    def passes(self, seconds: int, *, step: float = 1.0) -> list[str]:
        """Let so many seconds pass, with a look each step; return the cures that are logged."""
        for _ in range(int(seconds / step)):
            self.now += step
            self.hearing.look(self.queued)
        return [message.partition("began none: ")[2] for message in self.caplog.messages]


def no_bells() -> dict[str, int | None]:
    return dict.fromkeys(celery_app.amqp.queues.consume_from, 0)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Watched:
    return Watched(monkeypatch, caplog)


def due(**options: Any) -> Job:
    """A job that has been due for a long time."""
    tasks.add.apply_async((1, 1), **options)
    Job.objects.update(due_at=timezone.now() - timedelta(minutes=2))
    return Job.objects.get()


def running(watched: Watched, *pids: int) -> None:
    for pid in pids:
        id_ = tasks.note.delay(str(pid)).id
        assert Job.objects.claim(
            [UUID(id_)],
            task=tasks.note.name,
            token=uuid4(),
            worker=watched.hearing.worker,
            pid=pid,
            lease=timedelta(minutes=9),
        )


def test_one_that_begins_nothing_is_cured_in_steps_and_at_last_ends(watched: Watched) -> None:
    due()
    running(watched, 11)
    assert watched.passes(9) == []
    assert watched.passes(3) == [RUNG]
    assert (watched.passes(11), len(watched.asked)) == ([RUNG, ANEW], 1)
    with pytest.raises(Deaf):
        watched.asked[0]()
    assert (watched.passes(11)[2:], watched.killed) == ([REPLACED], [12]), "11 is at work"
    assert (watched.passes(11)[3:], state.should_stop) == ([ENDS], 1)


@pytest.mark.parametrize("kind", ["queue", "task"])
def test_one_beside_what_is_paused_is_left_alone(watched: Watched, kind: str) -> None:
    job = due()
    Pause.objects.create(kind=kind, name=getattr(job, kind), by="ann")
    watched.parent.clock.ringer.paused = Pause.objects.names(PauseKind.QUEUE)
    assert watched.passes(60) == []


def test_one_process_at_many_jobs_is_one_busy_process(watched: Watched) -> None:
    due()
    running(watched, 11, 11, 11)
    assert watched.passes(12) == [RUNG], "the other is idle"


def test_one_that_begins_again_is_left_alone_and_its_cure_forgotten(watched: Watched) -> None:
    due()
    assert watched.passes(25) == [RUNG, ANEW]
    for _ in range(70):
        state.all_total_count[0] += 1
        watched.passes(1)
    assert watched.passes(12) == [RUNG, ANEW, RUNG]


def test_a_bell_that_it_holds_beside_an_idle_process_is_enough(watched: Watched) -> None:
    """The worker's other process begins one job after another."""
    due()
    request = Request("held", worker_pid=None)
    state.reserved_requests.add(request)
    try:
        for _ in range(12):
            state.all_total_count[0] += 1
            watched.passes(1)
    finally:
        state.reserved_requests.discard(request)
    assert watched.passes(1) == [ANEW]


def test_one_that_looks_for_its_broker_is_given_longer(watched: Watched) -> None:
    """Other workers reach it."""
    due()
    watched.parent.consumer.connection = None
    assert watched.passes(59) == []
    assert watched.passes(3) == [ENDS]


def test_one_that_celery_ended_is_not_waited_for_for_ever(watched: Watched) -> None:
    """After an unknown error Celery waits for its pool, while the clock goes on beating."""
    watched.parent.blueprint.state = TERMINATE
    assert (watched.passes(29), watched.killed) == ([], [])
    watched.passes(3)
    assert set(watched.killed) == {os.getpid()}


def test_one_without_processes_is_ended_by_nobody(watched: Watched) -> None:
    """Its pool is this process, which may be that of somebody's tests."""
    watched.parent.pool_cls = solo.TaskPool
    watched.parent.blueprint.state = TERMINATE
    assert (watched.passes(60), watched.killed, shutdown.has_begun()) == ([], [], False)


def nothing(_: Watched) -> None:
    """Nothing is due."""


def it_is_not_due_for_long(_: Watched) -> None:
    tasks.add.delay(1, 1)


def it_waits_for_its_time(_: Watched) -> None:
    tasks.add.apply_async((1, 1), countdown=3600)


def it_waits_for_its_slot(_: Watched) -> None:
    due()
    soon = timezone.now() + timedelta(seconds=60)
    Job.objects.update(due_at=soon, ring_at=soon, slot_at=soon)


def its_task_is_unknown(_: Watched) -> None:
    due()
    Job.objects.update(task="of.another.release")


def its_task_runs_in_threads(watched: Watched) -> None:
    watched.parent.clock.ringer.unrung = [due().task]


def its_queue_is_not_served(_: Watched) -> None:
    due()
    Job.objects.update(queue="elsewhere")


def every_process_is_busy(watched: Watched) -> None:
    due()
    running(watched, *PIDS)


def a_body_goes_on_after_its_job(watched: Watched) -> None:
    due()
    running(watched, PIDS[0])
    limited = {"task": SimpleNamespace(time_limit=600), "time_limits": (None, None)}
    request = Request("on", worker_pid=12, time_start=time.time(), **limited)
    watched.parent.kept = request
    state.active_requests.add(request)


def the_broker_is_away(watched: Watched) -> None:
    due()
    watched.queued["kaiten"] = None


def it_starts(watched: Watched) -> None:
    due()
    watched.parent.consumer.restart_count = -1


def it_is_told_to_stop(watched: Watched) -> None:
    due()
    shutdown._begun.set()


@pytest.mark.parametrize(
    "case",
    [
        nothing,
        it_is_not_due_for_long,
        it_waits_for_its_time,
        it_waits_for_its_slot,
        its_task_is_unknown,
        its_task_runs_in_threads,
        its_queue_is_not_served,
        every_process_is_busy,
        a_body_goes_on_after_its_job,
        the_broker_is_away,
        it_starts,
        it_is_told_to_stop,
    ],
    ids=lambda case: case.__name__,
)
def test_a_healthy_worker_is_left_alone(watched: Watched, case: Callable[[Watched], None]) -> None:
    case(watched)
    try:
        assert watched.passes(50) == []
        assert watched.killed == []
    finally:
        shutdown._begun.clear()
        state.active_requests.clear()


def test_whoever_slept_knows_nothing_of_what_was_meanwhile(watched: Watched) -> None:
    """The machine was suspended, or Postgres was away for all workers."""
    due()
    pause_s = ledger_settings.DEAF_S / 2 + 1
    assert watched.passes(60, step=pause_s) == []
