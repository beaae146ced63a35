"""What the process of threads claims, and in which order. That it keeps every promise is proved on
real processes, in `tests/promises/workers/test_threads.py`.
"""

import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from mmap import mmap
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from celery import current_app as celery_app
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection, transaction
from django.db.models.functions import Now

from celery_ledger import context, ledger_settings, outside
from celery_ledger.checks import objections
from celery_ledger.execution import lending
from celery_ledger.execution.current import Attempt
from celery_ledger.models import Job
from celery_ledger.models.jobs import due
from celery_ledger.publishing import waking
from celery_ledger.testing import attempt
from celery_ledger.threads import process
from celery_ledger.threads.process import Call, Threads
from tests.celery_ledger import tasks
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
QUEUE = "outside"
ANY = 1000


def promised(owner: str, number: int, **options: Any) -> UUID:
    with context.bound(**{ledger_settings.OWNER: owner}):
        return UUID(tasks.call.apply_async((number,), queue=QUEUE, **options).id)


def taken(limit: int = ANY, queue: str = QUEUE) -> list[UUID]:
    names = [tasks.call.name]
    return [job.id for job in due.of_each_owner({queue: limit}, tasks=names)]


def test_the_first_of_each_owner_comes_before_the_second_of_any() -> None:
    flood = [promised("a", number) for number in range(50)]
    quiet = [promised(owner, 0) for owner in ("b", "", "ü")]
    second = promised("b", 1)
    assert taken(limit=4) == [flood[0], *quiet]
    assert taken(limit=6) == [flood[0], *quiet, flood[1], second]
    assert set(taken()) == {*flood, *quiet, second}


def test_queues_come_in_their_order_and_room_is_kept_for_those_before() -> None:
    later = [promised("a", number) for number in range(9)]
    first = [UUID(tasks.call.apply_async((0,), queue="kaiten").id) for _ in range(3)]

    def of(rooms: dict[str, int]) -> list[UUID]:
        return [job.id for job in due.of_each_owner(rooms, tasks=[tasks.call.name])]

    assert of({"kaiten": 6, QUEUE: 5}) == [*first, *later[:2]]
    assert of({"kaiten": 2, QUEUE: 1}) == first[:2]
    assert of({"kaiten": 0, QUEUE: -5}) == []


def test_a_higher_priority_comes_first() -> None:
    low, plain, high = (promised("a", priority, priority=priority) for priority in (-1, 0, 1))
    assert taken() == [high, plain, low]


def test_what_is_not_due_or_of_another_queue_or_task_or_under_way_is_left() -> None:
    promised("a", 0, countdown=60)
    tasks.add.apply_async((1, 1), queue=QUEUE)
    running, here = (promised("a", number) for number in range(2))
    attempt(Job.objects.get(pk=running))
    assert taken() == [here]
    assert taken(queue="bulk") == []


def test_a_job_that_has_a_slot_of_a_limit_that_is_no_more_is_found_when_that_has_come() -> None:
    """No clock rings for it, since its task runs in threads when the limit is gone."""
    come, later = promised("a", 0), promised("a", 1)
    Job.objects.filter(pk=come).update(slot_at=Now())
    hour = Now() + timedelta(hours=1)
    Job.objects.filter(pk=later).update(slot_at=hour, due_at=hour)
    assert taken() == [come]
    assert [job.pk for job in Job.objects.without_threaded([tasks.call.name])] == []


def test_a_job_that_was_lost_beside_others_twice_is_left_to_the_pool_and_its_clock_rings() -> None:
    lost, fresh = promised("a", 0), promised("a", 1)
    Job.objects.filter(pk=lost).update(shared_losses=2)
    assert taken() == [fresh]
    assert [job.pk for job in Job.objects.without_threaded([tasks.call.name])] == [lost]
    rings = {job.pk: celery_app.amqp.ring_for(job).alone for job in Job.objects.all()}
    assert rings == {lost: True, fresh: False}


def test_the_time_limits_of_a_call_come_with_it() -> None:
    promised("a", 0, time_limit=9, soft_time_limit=8)
    promised("a", 1)
    found = due.of_each_owner({QUEUE: 2}, tasks=[tasks.call.name])
    assert [job.limits for job in found] == [(9, 8), (25, 20)]


def test_no_call_is_made_while_a_job_is_settled() -> None:
    job = Job.objects.get(pk=tasks.call_while_settling.delay().id)
    attempt(job)
    error = Job.objects.get(pk=job.pk).error
    assert error is not None
    assert "while a job is being settled" in error["message"]


def test_a_call_that_fails_has_its_verdict_though_its_connection_was_lent(monkeypatch: Any) -> None:
    monkeypatch.setattr(lending, "_in_threads", True)
    job = Job.objects.get(pk=tasks.call_in_vain.delay().id)
    attempt(job)
    job.refresh_from_db()
    assert (job.state, job.error and job.error["message"]) == ("dead", "nobody there")


def test_the_connection_is_lent_in_threads_and_kept_elsewhere(monkeypatch: Any) -> None:
    connection.ensure_connection()
    with outside():
        assert connection.connection is not None
    monkeypatch.setattr(lending, "_in_threads", True)
    with outside():
        assert connection.connection is None


def interruptible(heard: list[str]) -> threading.Thread:
    def wait() -> None:
        try:
            while not heard:
                time.sleep(0.01)
        except SoftTimeLimitExceeded:
            heard.append("told")

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_time_limit_is_for_the_body_and_not_for_the_verdict() -> None:
    """What is raised while a verdict is written would keep it from being written."""
    threads, heard = Threads(celery_app, "here", read_end=0, pulse=mmap(-1, 1)), list[str]()
    claim: Any = SimpleNamespace(id="a job")
    current = Attempt(celery_app.tasks[tasks.call.name], claim)
    late = Call(current, soft_s=1, hard_s=2, began=time.monotonic() - 100)
    late.thread = thread = interruptible(heard)
    threads.calls.append(late)
    threads._look_at_the_time()
    assert (late.was_told, late.is_stuck, threads.leaving) == (False, False, False)
    current.in_body = True
    threads._look_at_the_time()
    thread.join(timeout=30)
    assert heard == ["told"]
    assert (late.was_told, late.is_stuck, threads.leaving) == (True, True, True)


def test_a_time_limit_of_a_call_that_is_over_is_not_raised_in_the_next_one() -> None:
    heard = list[str]()
    call = Call(Attempt(celery_app.tasks[tasks.call.name], None), soft_s=1, hard_s=2)  # type: ignore[arg-type]
    call.thread = thread = interruptible(heard)
    call.end()
    call.tell()
    assert (call.was_told, call.has_left) == (False, True)
    heard.append("nothing")
    thread.join(timeout=30)
    assert heard == ["nothing"]


def test_few_calls_begin_together_and_of_bulk_work_fewer_and_room_is_kept_for_the_queues_before(
    settings: Any,
) -> None:
    few = {"THREADS_MAX": 9, "THREADS_KEPT": 2, "THREADS_BEGIN": 5, "THREADS_BEGIN_BULK": 2}
    settings.LEDGER = {**settings.LEDGER, **few}
    threads = Threads(celery_app, "here", read_end=0, pulse=mmap(-1, 1))
    assert [*threads._rooms().values()][:3] == [5, 5, 2]
    threads.calls = [*range(6)]
    assert [*threads._rooms().values()][:3] == [3, 1, 0]


@pytest.fixture
def near() -> Iterator[int]:
    """Let this process belong to a worker with threads; the end of the pipe that they would
    read.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    waking.use_pipe(write_end)
    yield read_end
    waking.use_pipe(None)
    os.close(read_end)
    os.close(write_end)


def test_while_there_is_something_to_begin_it_looks_without_waiting(
    near: int, monkeypatch: Any
) -> None:
    waited = list[float]()

    def listen(reads: list[int], writes: list[int], errors: list[int], limit_s: float) -> Any:
        waited.append(limit_s)
        return [], [], []

    monkeypatch.setattr(process, "select", SimpleNamespace(select=listen))
    threads = Threads(celery_app, "here", read_end=near, pulse=mmap(-1, 1))
    promised("a", 1)
    for _ in range(2):
        threads._take_what_is_due()
        threads._listen()
    assert waited == [0, ledger_settings.THREADS_LOOK_S]


def test_a_thread_makes_one_call_after_another_and_leaves_when_it_was_told_of_a_time_limit(
    near: int, monkeypatch: Any
) -> None:
    threads = Threads(celery_app, "here", read_end=near, pulse=mmap(-1, 1))
    hands = set[threading.Thread]()
    for number in range(4):
        job = Job.objects.filter(pk=promised("a", number))
        threads._take_what_is_due()
        hands |= threads._hands
        [call] = threads.calls
        until(lambda: call.has_left, "it is over", within_s=30)  # noqa: B023 - at once
        assert job.get().state == "done"
        threads._listen()
        assert threads.calls == []
    assert len(hands) == 1
    (hand,) = hands
    monkeypatch.setattr(process, "Call", partial(Call, was_told=True))
    promised("a", 4)
    threads._take_what_is_due()
    until(lambda: not hand.is_alive(), "it has left", within_s=30)
    threads._listen()
    assert (threads.calls, threads._hands) == ([], set())


def test_who_promises_a_call_wakes_the_threads_of_its_own_worker(near: int) -> None:
    tasks.add.delay(1, 1)
    with pytest.raises(BlockingIOError):
        os.read(near, 9)
    with transaction.atomic():
        tasks.call.delay(1)
        with pytest.raises(BlockingIOError):  # whose row nobody sees yet
            os.read(near, 9)
    assert os.read(near, 9) == waking.WAKE


def test_no_process_of_the_pool_takes_the_turn_of_a_call(near: int) -> None:
    """Otherwise the process would wait for somebody's server."""
    job = Job.objects.get(pk=tasks.add.delay(1, 1).id)
    call = promised("b", 1)
    Job.objects.filter(pk=call).update(queue=job.queue)
    attempt(job)
    assert Job.objects.get(pk=call).state == "waiting"
    assert Job.objects.get(pk=job.pk).state == "done"


def test_a_threaded_task_has_no_transaction_around_its_body(monkeypatch: Any) -> None:
    assert objections(tasks.call) == []
    monkeypatch.setattr(tasks.call, "atomic", True)
    [found] = objections(tasks.call)
    assert "threaded" in found
