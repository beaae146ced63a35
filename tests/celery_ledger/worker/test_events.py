"""What a worker with `-E` tells of its jobs. The pool's processes and the threads tell it too:
`tests/promises/workers/test_events.py`.
"""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from celery import Task
from celery import current_app as celery_app
from celery.canvas import Signature
from django.db import connection
from redis import Redis

from celery_ledger.celery.registry import guarded
from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job
from celery_ledger.telemetry import events
from celery_ledger.testing import attempt
from tests.celery_ledger import tasks
from tests.celery_ledger.listening import Listener, listening

pytestmark = pytest.mark.django_db(transaction=True)
WORKER = "worker@here"


@pytest.fixture
def listener(broker: Redis) -> Iterator[Listener]:
    events.send_as(WORKER)
    try:
        with listening(broker) as listener:
            yield listener
    finally:
        events.send_as(None)


def made(call: Signature, **options: Any) -> UUID:
    job = Job.objects.get(pk=call.apply_async(**options).id)
    attempt(job)
    return job.pk


def test_a_job_that_is_done_was_received_started_and_succeeded(listener: Listener) -> None:
    job = made(tasks.add.s(1, y=2))
    [succeeded] = listener.until("task-succeeded", 1)
    assert listener.of(job) == ["task-received", "task-started", "task-succeeded"]
    assert (succeeded["result"], succeeded["hostname"]) == ("3", WORKER)
    [received] = listener.until("task-received", 1)
    assert (received["name"], received["args"]) == (tasks.add.name, "(1,)")
    assert (received["kwargs"], received["retries"]) == ("{'y': 2}", 0)


def test_arguments_that_a_caller_hides_are_hidden(listener: Listener) -> None:
    made(tasks.add.s(1, 2), argsrepr="(…)", shadow="sum")
    [received] = listener.until("task-received", 1)
    assert (received["name"], received["args"]) == ("sum", "(…)")


@pytest.mark.parametrize(
    ("call", "options", "end", "says"),
    [
        (tasks.fail_with.s("no"), {}, "task-failed", {"exception": "ValueError('no')"}),
        (tasks.fail_for_a_while.s(1), {}, "task-retried", {"exception": "Passing('failure 0')"}),
        (tasks.note.s("late"), {"expires": -1}, "task-revoked", {"expired": True}),
    ],
    ids=["failed", "retried", "revoked"],
)
def test_any_other_end_is_told(
    listener: Listener, call: Signature, options: dict[str, Any], end: str, says: dict[str, Any]
) -> None:
    job = made(call, **options)
    [event] = listener.until(end, 1)
    assert {name: event[name] for name in says} == says
    begun = ["task-started"] if end != "task-revoked" else []
    assert listener.of(job) == ["task-received", *begun, end]


def test_each_job_that_shares_a_transaction_is_told_of_outside_it(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_settings, "BATCH_S", 60)  # a slow machine is none of its cases
    bell, inside = celery_app.amqp.bell, list[bool]()
    send: Callable[..., bool] = bell.send_events

    def spied(*arguments: Any) -> bool:
        inside.append(connection.in_atomic_block)
        return send(*arguments)

    monkeypatch.setattr(bell, "send_events", spied)
    names = [str(number) for number in range(4)]
    first, *others = [Job.objects.get(pk=tasks.note.delay(name).id) for name in names]
    attempt(first, *others)
    listener.until("task-succeeded", 4)
    for job in (first, *others):
        assert listener.of(job.pk) == ["task-received", "task-started", "task-succeeded"]
    assert not any(inside)


def test_without_e_and_for_a_task_that_does_not_want_it_nothing_is_told() -> None:
    class Silent(Task):  # type: ignore[misc]
        send_events = False

    class Asked:
        task, claim, events = guarded(Silent)(), None, list[Any]()

    events.send_as(WORKER)
    try:
        events.started(Asked)
    finally:
        events.send_as(None)
    made(tasks.add.s(1, 2))
    assert Asked.events == []
