"""What the process of the threads takes, and in which order. That it keeps every promise is proved
on real processes, in `tests/promises/test_threads.py`.
"""

from typing import Any
from uuid import UUID

import pytest
from celery import current_app as celery_app
from django.db.models.functions import Now

from celery_ledger import context, outside, settle
from celery_ledger.checks import objections
from celery_ledger.models import Job
from celery_ledger.testing import attempt
from tests.celery_ledger import tasks

pytestmark = pytest.mark.django_db(transaction=True)
QUEUE = "outside"
ANY = 1000


def promised(owner: str, number: int, **options: Any) -> UUID:
    with context.bound(owner=owner):
        return UUID(tasks.call.apply_async((number,), queue=QUEUE, **options).id)


def taken(limit: int = ANY, queue: str = QUEUE) -> list[UUID]:
    names = [tasks.call.name]
    return [job.id for job in Job.objects.due({queue: limit}, tasks=names)]


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
        return [job.id for job in Job.objects.due(rooms, tasks=[tasks.call.name])]

    assert of({"kaiten": 6, QUEUE: 5}) == [*first, *later[:2]]
    assert of({"kaiten": 2, QUEUE: 1}) == first[:2]
    assert of({"kaiten": 0, QUEUE: -5}) == []


def test_a_higher_priority_comes_first() -> None:
    low, plain, high = (promised("a", priority, priority=priority) for priority in (-1, 0, 1))
    assert taken() == [high, plain, low]


def test_what_is_not_due_or_of_another_queue_or_task_or_under_way_is_left() -> None:
    promised("a", 0, countdown=60)
    tasks.add.apply_async((1, 1), queue=QUEUE)
    slotted, running, here = (promised("a", number) for number in range(3))
    Job.objects.filter(pk=slotted).update(slot_at=Now())
    attempt(Job.objects.get(pk=running))
    assert taken() == [here]
    assert taken(queue="bulk") == []


def test_a_job_that_one_more_loss_would_kill_is_left_to_the_pool_and_its_clock_rings() -> None:
    lost, fresh = promised("a", 0), promised("a", 1)
    Job.objects.filter(pk=lost).update(losses=2)
    assert taken() == [fresh]
    assert [job.pk for job in Job.objects.but_in_threads([tasks.call.name])] == [lost]
    rings = {job.pk: celery_app.amqp.ring_for(job).alone for job in Job.objects.all()}
    assert rings == {lost: True, fresh: False}


def test_the_time_limits_of_a_call_come_with_it() -> None:
    promised("a", 0, time_limit=9, soft_time_limit=8)
    promised("a", 1)
    due = Job.objects.due({QUEUE: 2}, tasks=[tasks.call.name])
    assert [job.limits for job in due] == [(9, 8), (25, 20)]


def test_no_call_is_made_while_a_job_is_settled() -> None:
    job = Job.objects.get(pk=tasks.call_while_settling.delay().id)
    attempt(job)
    error = Job.objects.get(pk=job.pk).error
    assert error is not None
    assert "while a job is being settled" in error["message"]


def test_outside_a_job_a_call_is_a_call() -> None:
    with outside(), settle():
        pass


def test_a_threaded_task_has_no_transaction_around_its_body(monkeypatch: Any) -> None:
    assert objections(tasks.call) == []
    monkeypatch.setattr(tasks.call, "atomic", True)
    [found] = objections(tasks.call)
    assert "threaded" in found
