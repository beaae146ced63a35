"""Pausing: no job of what is paused begins in any worker, and it holds up no other; what is resumed
goes on as before.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import current_app as celery_app
from django.core.management import CommandError, call_command
from django.utils import timezone
from redis import Redis

from celery_ledger import context, explain, ledger_settings, metric_families, pausing, unheard
from celery_ledger.models import Job, PauseKind, Schedule, Worker
from celery_ledger.models.jobs import due
from celery_ledger.testing import attempt, work_off
from celery_ledger.worker.clock import Clock
from tests.celery_ledger import tasks

pytestmark = pytest.mark.django_db(transaction=True)
QUEUE, TASK, SCHEDULE = PauseKind.QUEUE, PauseKind.TASK, PauseKind.SCHEDULE
ADD = tasks.add.name
LONG = timedelta(minutes=2)


def clock() -> Clock:
    return Clock(celery_app, worker=uuid4(), name="test@here")


def done() -> list[str]:
    return sorted(Job.objects.filter(state="done").values_list("task", flat=True))


def jobs(*words: str) -> str:
    output = StringIO()
    call_command("jobs", *words, stdout=output)
    return output.getvalue()


@pytest.mark.parametrize(("kind", "name"), [(QUEUE, "bulk"), (TASK, ADD)])
def test_none_of_its_jobs_is_claimed_until_it_is_resumed(kind: PauseKind, name: str) -> None:
    tasks.add.apply_async((1, 1), queue="bulk")
    tasks.note.delay("other")
    assert pausing.pause(kind, name, by="ann")
    assert not pausing.pause(kind, name, by="bob")
    for job in Job.objects.all():
        attempt(job)
    assert done() == [tasks.note.name]
    waiting = Job.objects.get(state="waiting")
    assert (waiting.attempts, waiting.history) == (0, [])
    assert pausing.resume(kind, name, by="ann")
    assert not pausing.resume(kind, name, by="ann")
    work_off()
    assert done() == [ADD, tasks.note.name]


def test_a_paused_queue_is_not_rung_and_is_rung_at_once_when_it_is_resumed(broker: Redis) -> None:
    for number in range(5):
        tasks.add.apply_async((number, 1), queue="bulk")
    tasks.add.delay(1, 1)
    broker.flushdb()
    Job.objects.update(due_at=timezone.now() - LONG)
    pausing.pause(QUEUE, "bulk", by="ann")
    ringer = clock().ringer
    assert ringer.ring() == 1
    assert broker.llen("bulk") == 0
    pausing.resume(QUEUE, "bulk", by="ann")
    assert ringer.ring() == 5
    assert broker.llen("bulk") == 5


@pytest.mark.parametrize(("kind", "name"), [(QUEUE, "outside"), (TASK, tasks.call.name)])
def test_the_threads_pass_it_over(kind: PauseKind, name: str) -> None:
    for priority in (0, 1):
        tasks.call.apply_async((0,), queue="outside", priority=priority)
    tasks.add.apply_async((1, 1), queue="bulk")

    def found() -> list[str]:
        names = [tasks.call.name, ADD]
        return [job.task for job in due.of_each_owner({"outside": 9, "bulk": 9}, tasks=names)]

    pausing.pause(kind, name, by="ann")
    assert found() == [ADD]
    pausing.resume(kind, name, by="ann")
    assert found() == [tasks.call.name] * 2 + [ADD]


def test_a_paused_task_takes_nobody_s_turn() -> None:
    """Otherwise each bell would be answered with a job that cannot begin."""
    ids = {}
    for owner, task, priority in (("a", tasks.note, 9), ("b", tasks.note, 0), ("c", tasks.add, 0)):
        with context.bound(**{ledger_settings.OWNER: owner}):
            arguments = (1, 1) if task is tasks.add else ("paused",)
            ids[owner] = UUID(task.apply_async(arguments, priority=priority).id)
    limits = Job.objects.get(pk=ids["c"]).envelope["headers"]["timelimit"]
    asked: dict[str, Any] = {
        "queue": "kaiten",
        "tasks": [ADD, tasks.note.name],
        "timelimit": limits,
    }

    def turns() -> list[UUID]:
        next_ones = due.of_the_next_owners(after="", number=9, **asked)
        preferred = due.preferred_to(ids["c"], **asked)
        return [*(turn.id for turn in next_ones), *(preferred[:1] if preferred else ())]

    assert turns() == [ids["a"], ids["b"], ids["c"], ids["a"]]
    pausing.pause(TASK, tasks.note.name, by="ann")
    assert turns() == [ids["c"]]


@pytest.mark.parametrize(("kind", "name"), [(QUEUE, "kaiten"), (TASK, ADD)])
def test_an_idle_worker_beside_it_is_not_called_deaf(kind: PauseKind, name: str) -> None:
    tasks.add.delay(1, 1)
    Job.objects.update(due_at=timezone.now() - LONG)
    Worker.objects.beat(uuid4(), name="idle", pid=1, queues=["kaiten"], quiet_s=60)
    assert set(unheard()) == {"kaiten"}
    pausing.pause(kind, name, by="ann")
    assert unheard() == {}


@pytest.fixture
def _every_minute() -> Iterator[None]:
    before = celery_app.conf.beat_schedule
    entry = {"task": ADD, "schedule": 60.0, "args": (1, 1), "catch_up": "all"}
    celery_app.conf.beat_schedule = {"every-minute": entry}
    yield
    celery_app.conf.beat_schedule = before


@pytest.mark.usefixtures("_every_minute")
def test_a_schedule_promises_nothing_and_makes_up_for_nothing() -> None:
    scheduler = clock().scheduler
    scheduler.promise_due_slots()
    Schedule.objects.update(promised_until=timezone.now() - LONG)
    pausing.pause(SCHEDULE, "every-minute", by="ann")
    assert clock().scheduler.promise_due_slots() == 0
    pausing.resume(SCHEDULE, "every-minute", by="ann")
    assert clock().scheduler.promise_due_slots() == 0
    Schedule.objects.update(promised_until=timezone.now() - LONG)
    assert clock().scheduler.promise_due_slots() == 2


def test_it_stands_wherever_somebody_asks() -> None:
    id_ = UUID(tasks.add.delay(1, 1).id)
    assert jobs("pause", "queue", "kaiten", "--note", "the provider is down").startswith(
        "The queue kaiten is paused."
    )
    assert "Paused: queue kaiten, by " in jobs("stats")
    [paused] = json.loads(jobs("stats", "--json"))["paused"]
    assert (paused["kind"], paused["name"]) == ("queue", "kaiten")
    explanation = explain(id_) or ""
    assert "It is not running because the queue kaiten is paused by " in explanation
    assert '"the provider is down"' in explanation
    [family] = [each for each in metric_families() if each.name.endswith("jobs_paused")]
    assert [sample.labels for sample in family.samples] == [{"kind": "queue", "name": "kaiten"}]
    assert jobs("resume", "queue", "kaiten") == "The queue kaiten is resumed.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("pause", "queue", "kaite"), "Did you mean kaiten?"),
        (("pause", "task", "add"), f"Did you mean {ADD}?"),
        (("pause", "schedule", "nightly"), "There is no schedule 'nightly'"),
        (("resume", "queue", "bulk"), "The queue bulk is not paused."),
    ],
)
def test_what_cannot_be_paused_is_refused_by_name(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence.replace("?", r"\?")):
        jobs(*words)
