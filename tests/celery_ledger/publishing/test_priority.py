"""Priorities: the job of the highest one begins first, whichever bell rings."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from redis import Redis

from celery_ledger import context, ledger_settings
from celery_ledger.models import Job
from celery_ledger.models.jobs import due
from celery_ledger.testing import attempt
from tests.celery_ledger import tasks

pytestmark = pytest.mark.django_db(transaction=True)


def promised(priority: int, **options: Any) -> Job:
    id_ = tasks.add.apply_async((priority, 0), priority=priority, **options).id
    return Job.objects.get(pk=id_)


def done() -> list[int]:
    ended = Job.objects.filter(state="done").order_by("finished_at")
    return [int(job.result) for job in ended]


def bells(broker: Redis) -> list[str]:
    return [json.loads(raw)["headers"]["id"] for raw in broker.lrange("kaiten", 0, -1)]


def test_each_bell_does_the_job_of_the_highest_priority_that_is_due() -> None:
    heard = [promised(priority) for priority in (0, -5, 3, 100, 0, -100)]
    for job in heard:
        attempt(job)
    for job in heard:
        attempt(job)
    assert done()[:2] == [100, 3]
    assert done()[-2:] == [-5, -100]
    assert sorted(done()) == [-100, -5, 0, 0, 3, 100]


def test_who_has_to_stand_back_is_rung_for_again(broker: Redis) -> None:
    low, high = promised(0), promised(9)
    broker.flushdb()
    attempt(low)
    assert (done(), bells(broker)) == ([9], [str(low.pk)])
    attempt(high)  # whose own bell finds it done, and nothing else to prefer
    assert done() == [9]
    attempt(low)
    assert done() == [9, 0]


def test_a_bell_for_nobody_may_do_a_job_of_priority_and_rings_for_none(broker: Redis) -> None:
    ended, high = promised(0), promised(9)
    Job.objects.filter(pk=ended.pk).update(state="done", result=0, finished_at="2026-11-01T00:00Z")
    broker.flushdb()
    attempt(ended)
    assert (Job.objects.get(pk=high.pk).state, bells(broker)) == ("done", [])


@pytest.mark.parametrize(
    "options",
    [{"countdown": 60}, {"queue": "bulk"}, {"time_limit": 9, "soft_time_limit": 8}],
    ids=lambda options: next(iter(options)),
)
def test_who_cannot_begin_now_or_here_is_preferred_to_nobody(options: dict[str, Any]) -> None:
    promised(9, **options)
    attempt(promised(0))
    assert done() == [0]


def test_a_job_that_waits_for_a_slot_is_preferred_to_nobody(monkeypatch: Any) -> None:
    monkeypatch.setattr(tasks.note, "rate_limit", "1/h")
    tasks.note.apply_async(("a",), priority=9)
    attempt(promised(0))
    assert done() == [0]


def test_a_process_that_has_seen_none_asks_again_after_a_while(settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "TURN_LOOK_S": 3600}
    attempt(promised(0))
    promised(9)
    attempt(promised(1))
    assert done() == [0, 1]
    settings.LEDGER = {**settings.LEDGER, "TURN_LOOK_S": 0}
    attempt(promised(2))
    assert done() == [0, 1, 9]


@pytest.fixture
def one_look(settings: Any) -> None:
    """Let one look hold for all bells of a test, however slow the machine is."""
    settings.LEDGER = {**settings.LEDGER, "TURN_LOOK_S": 3600}


def of_owner(owner: str, number: int, **options: Any) -> Job:
    with context.bound(**{ledger_settings.OWNER: owner}):
        return Job.objects.get(pk=tasks.add.apply_async((number, 0), **options).id)


def test_of_many_jobs_of_one_owner_and_few_of_others_each_owners_first_comes_first(
    one_look: None,
) -> None:
    heard = [of_owner("a", number) for number in range(6)]
    heard += [of_owner(owner, 10) for owner in ("b", "c")]
    for job in heard[:5]:
        attempt(job)
    assert done() == [0, 10, 10, 1, 2]


def test_of_an_owner_with_a_weight_so_many_jobs_begin_for_one_of_anothers(
    one_look: None, settings: Any
) -> None:
    settings.LEDGER = {**settings.LEDGER, "WEIGHTS": {"a": 3}}
    heard = [of_owner(owner, ord(owner)) for owner in "bac" for _ in range(12)]
    for job in heard[:20]:
        attempt(job)
    assert Counter(map(chr, done())) == {"a": 12, "b": 4, "c": 4}


def test_in_threads_too(settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "WEIGHTS": {"a": 3}}
    owners = {of_owner(owner, 0).pk: owner for owner in "bac" for _ in range(12)}
    found = due.of_each_owner({"kaiten": 20}, tasks=[tasks.add.name])
    assert Counter(owners[job.id] for job in found) == {"a": 12, "b": 4, "c": 4}


def test_a_bell_whose_job_was_done_by_anothers_does_the_others(one_look: None) -> None:
    """Otherwise some jobs would have no bell left, and wait for the clock."""
    heard = [*(of_owner("a", number) for number in range(6)), of_owner("b", 10)]
    for job in heard:
        attempt(job)
    assert sorted(done()) == [0, 1, 2, 3, 4, 5, 10]


def test_an_owner_whose_jobs_are_due_later_or_elsewhere_has_no_turn() -> None:
    for options in ({"countdown": 60}, {"queue": "bulk"}, {"time_limit": 9, "soft_time_limit": 8}):
        of_owner("b", 10, **options)
    heard = [of_owner("a", number) for number in range(3)]
    for job in heard:
        attempt(job)
    assert done() == [0, 1, 2]


def test_when_somebody_else_was_quicker_the_bell_does_its_own(monkeypatch: Any) -> None:
    first, other = of_owner("a", 1), of_owner("b", 2)
    taken = due.Next(other.pk, other.task, "b", 0)
    monkeypatch.setattr(due, "of_the_next_owners", lambda *_, **__: [taken])
    Job.objects.filter(pk=other.pk).update(due_at=timezone.now() + timedelta(hours=1))
    attempt(first)
    assert done() == [1]
