import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import chain, current_app, group
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis import Redis

from celery_ledger import context, together
from celery_ledger.errors import CannotBeStored
from celery_ledger.models import Job
from tests.celery_ledger import tasks

pytestmark = pytest.mark.django_db(transaction=True)


def bells(broker: Redis) -> list[str]:
    return [json.loads(message)["headers"]["id"] for message in broker.lrange("kaiten", 0, -1)]


def test_delay_writes_a_row_and_rings_with_nothing_but_its_id(broker: Redis) -> None:
    result = tasks.add.delay(2, y=3)
    job = Job.objects.get()
    assert (str(job.pk), job.task, job.args, job.state) == (
        result.id,
        "tests.celery_ledger.tasks.add",
        [[2], {"y": 3}],
        "waiting",
    )
    [message] = [json.loads(raw) for raw in broker.lrange("kaiten", 0, -1)]
    assert message["headers"]["id"] == result.id
    assert message["headers"]["argsrepr"] == ""
    assert message["body"] == "W1tdLCB7fSwge31d"  # base64 of [[], {}, {}]


def test_one_that_is_promised_outside_a_transaction_is_one_statement(broker: Redis) -> None:
    tasks.add.delay(1, 1)
    with CaptureQueriesContext(connection) as captured:
        result = tasks.add.delay(2, 2)
    [only] = captured.captured_queries  # no BEGIN and no COMMIT
    assert only["sql"].lstrip().startswith("INSERT")
    assert result.id in bells(broker)


def test_nothing_rings_before_the_commit_and_all_ring_after_it(broker: Redis) -> None:
    with transaction.atomic():
        first = tasks.add.delay(1, 1)
        second = tasks.add.delay(2, 2)
        assert bells(broker) == []
    assert sorted(bells(broker)) == sorted([first.id, second.id])


def test_a_rolled_back_transaction_leaves_no_row_and_no_bell(broker: Redis) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        tasks.add.delay(1, 1)
        raise ZeroDivisionError
    assert (Job.objects.count(), bells(broker)) == (0, [])


def test_a_rolled_back_savepoint_takes_only_its_own_jobs_along(broker: Redis) -> None:
    with transaction.atomic():
        before = tasks.add.delay(1, 1)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            tasks.add.delay(2, 2)
            raise ZeroDivisionError
        after = tasks.add.delay(3, 3)
    assert {str(pk) for pk in Job.objects.values_list("pk", flat=True)} == {before.id, after.id}
    assert sorted(bells(broker)) == sorted([before.id, after.id])


def test_jobs_promised_together_are_written_by_one_statement_at_the_end(broker: Redis) -> None:
    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        with together():
            first = tasks.add.delay(1, 1)
            with together():
                second = tasks.add.apply_async((2, 2), countdown=60)
            assert Job.objects.count() == 0
        assert Job.objects.count() == 2
        assert bells(broker) == []
    assert bells(broker) == [first.id]
    assert sum("INSERT INTO celery_ledger_job" in query["sql"] for query in captured) == 1
    assert {str(job.pk): job.args for job in Job.objects.all()} == {
        first.id: [[1, 1], {}],
        second.id: [[2, 2], {}],
    }


def test_without_a_transaction_what_is_promised_together_is_promised_or_not(broker: Redis) -> None:
    with pytest.raises(ZeroDivisionError), together():
        tasks.add.delay(1, 1)
        raise ZeroDivisionError
    assert (Job.objects.count(), bells(broker)) == (0, [])
    with together():
        first, second = tasks.add.delay(1, 1), tasks.add.delay(2, 2)
    assert sorted(bells(broker)) == sorted([first.id, second.id])


def test_a_savepoint_that_is_rolled_back_takes_its_jobs_out_of_those_promised_together() -> None:
    with transaction.atomic(), together():
        kept = tasks.add.delay(1, 1)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            tasks.add.delay(2, 2)
            raise ZeroDivisionError
    assert str(Job.objects.get().pk) == kept.id


def test_a_group_is_written_by_few_statements_and_stands_in_its_order(
    broker: Redis, settings: Any
) -> None:
    settings.LEDGER = {**settings.LEDGER, "PROMISE_BATCH": 20}
    with CaptureQueriesContext(connection) as captured:
        promised = group(tasks.add.s(number, 0) for number in range(50)).delay()
    assert sum("INSERT INTO celery_ledger_job" in query["sql"] for query in captured) == 3
    ids = [result.id for result in promised.results]
    assert bells(broker) == ids[::-1]
    for start, end in ((0, 20), (20, 40), (40, 50)):
        some = Job.objects.filter(pk__in=ids[start:end])
        for order in ("created_at", "due_at"):
            assert [str(job.pk) for job in some.order_by(order)] == ids[start:end]


def test_a_transaction_that_is_rolled_back_within_a_producer_leaves_no_job() -> None:
    """Celery holds one producer for all calls of a group."""
    with current_app.producer_pool.acquire(block=True):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            tasks.add.delay(1, 1)
            raise ZeroDivisionError
        kept = tasks.add.delay(2, 2)
        assert Job.objects.count() == 0
    assert str(Job.objects.get().pk) == kept.id


def test_an_id_that_is_taken_is_named_at_the_end_of_what_is_promised_together() -> None:
    taken = tasks.add.delay(1, 1)
    with pytest.raises(ValueError, match=taken.id), together():
        tasks.add.delay(2, 2)
        tasks.add.apply_async((3, 3), task_id=taken.id)
    assert Job.objects.get().args == [[1, 1], {}]


def test_a_key_is_one_job_also_among_those_promised_together(broker: Redis) -> None:
    with together():
        other = tasks.add.delay(1, 1)
        first, second = tasks.note_once.delay("a"), tasks.note_once.delay("a")
    assert first.id == second.id
    assert {str(pk) for pk in Job.objects.values_list("pk", flat=True)} == {other.id, first.id}


def test_on_commit_variants_are_the_same(broker: Redis) -> None:
    with transaction.atomic():
        first = tasks.add.delay_on_commit(1, 1)
        second = tasks.add.apply_async_on_commit((1, 1), countdown=0)
        assert Job.objects.count() == 2
        assert bells(broker) == []
    assert sorted(bells(broker)) == sorted([first.id, second.id])


def test_a_countdown_lives_in_the_row_and_not_in_the_broker(broker: Redis) -> None:
    start = timezone.now()
    tasks.add.apply_async((1, 1), countdown=3600)
    job = Job.objects.get()
    assert timedelta(minutes=59) < job.due_at - start < timedelta(minutes=61)
    assert job.ring_at == job.due_at
    assert bells(broker) == []


def test_send_task_by_name_is_durable_too() -> None:
    current_app.send_task("somebody.elses.task", [1], {"b": 2}, queue="kaiten")
    assert Job.objects.get().args == [[1], {"b": 2}]


def test_a_chain_is_one_job_that_carries_the_rest() -> None:
    chain(tasks.add.s(1, 1), tasks.add.s(5)).apply_async()
    [following] = Job.objects.get().envelope["chain"]
    assert (following["task"], following["args"]) == ("tests.celery_ledger.tasks.add", [5])


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((1,), TypeError, "missing 1 required positional argument"),
        ((1, object()), CannotBeStored, "must be JSON"),
        ((1, "x" * 16_400), ValueError, "16384 are allowed"),
        ((1, "a\x00b"), ValueError, "cannot be stored"),
    ],
)
def test_wrong_arguments_fail_at_the_call(args: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tasks.add.delay(*args)
    assert Job.objects.count() == 0


NO_WAY_BACK = {"__type__": "nonsense", "__value__": 1}


@pytest.mark.parametrize(
    "call",
    [
        lambda: tasks.add.delay(1, NO_WAY_BACK),
        lambda: chain(tasks.add.s(1, 1), tasks.add.s(NO_WAY_BACK)).apply_async(),
        lambda: tasks.add.apply_async((1, 1), link=tasks.add.s(NO_WAY_BACK)),
        lambda: tasks.add.apply_async((1, 1), link_error=tasks.speak.si(NO_WAY_BACK)),
    ],
)
def test_what_no_clock_could_read_back_fails_at_the_call(call: Callable[[], object]) -> None:
    """A single such row would make every tick of every clock fail."""
    with pytest.raises(ValueError, match="nonsense"):
        call()
    assert Job.objects.count() == 0


def test_a_job_inherits_on_whose_behalf_it_was_promised() -> None:
    with context.bound(request_id="req-1", client="c-1", job="not-inherited"):
        tasks.add.delay(1, 1)
    assert Job.objects.get().context == {"request_id": "req-1", "client": "c-1"}


def test_a_job_is_due_by_the_clock_of_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a machine's own clock that is ahead, a bell would ring for a job that no claim takes as
    due.
    """
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime.now(UTC) + timedelta(hours=1))
    tasks.add.delay(1, 1)
    monkeypatch.undo()
    assert Job.objects.get().due_at <= timezone.now()


def test_a_call_is_written_also_with_the_first_protocol_of_celery_in_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(current_app.conf, "task_protocol", 1)
    current_app.amqp.__dict__.pop("create_task_message", None)  # Celery keeps its own
    result = tasks.add.delay(1, 2)
    assert [(str(job.pk), job.args) for job in Job.objects.all()] == [(result.id, [[1, 2], {}])]
