"""How fast jobs are promised by one process, beside what people do without the ledger. In turn;
`PROMISING_ROUNDS` says how often (5).
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from celery import Celery, current_app
from django.db import connection, transaction

from celery_ledger import together
from celery_ledger.models import Job
from tests.bench.peers.tasks import count_durably
from tests.bench.peers.work import Work

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("work"),
]
ROUNDS = int(os.environ.get("PROMISING_ROUNDS", "5"))
NUMBER = 1000

plain = Celery("plain", broker=current_app.conf.broker_url, set_as_current=False, fixups=[])
plain.conf.update(task_ignore_result=True, task_default_queue="plain")


@plain.task(name="plain.count")  # type: ignore[untyped-decorator]
def count_plainly(number: int) -> None:
    """Nobody works it off."""


def a_row() -> None:
    for number in range(NUMBER):
        Work.objects.create(number=number)


def a_message() -> None:
    for number in range(NUMBER):
        count_plainly.delay(number)


def a_row_and_then_a_message() -> None:
    for number in range(NUMBER):
        with transaction.atomic():
            Work.objects.create(number=number)
            transaction.on_commit(partial(count_plainly.delay, number))


def a_job() -> None:
    for number in range(NUMBER):
        count_durably.delay(number)


def a_row_and_a_job() -> None:
    for number in range(NUMBER):
        with transaction.atomic():
            Work.objects.create(number=number)
            count_durably.delay(number)


def jobs_together() -> None:
    with together():
        for number in range(NUMBER):
            count_durably.delay(number)


WAYS: dict[str, tuple[Callable[[], None], set[str]]] = {  # and what each of them writes
    "a row (ORM)": (a_row, {"rows"}),
    "a message of plain Celery": (a_message, {"messages"}),
    "a row, and a message after its commit": (a_row_and_then_a_message, {"rows", "messages"}),
    "a job of the ledger": (a_job, {"jobs", "bells"}),
    "a row and a job": (a_row_and_a_job, {"rows", "jobs", "bells"}),
    "jobs, together()": (jobs_together, {"jobs", "bells"}),
}


def test_promising() -> None:
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS + 1):
        for name, (promise, each) in WAYS.items():
            rounds[name].append(measured(promise))
            assert written() == dict.fromkeys(each, NUMBER), name
            empty_the_tables()
    print(f"\nby one process, medians of {ROUNDS} rounds of {NUMBER}")
    print(f"  {'':38} a second  CPU ms each")
    for name, of in rounds.items():
        per_s, cpu_ms = map(statistics.median, zip(*of[1:], strict=True))  # the first warms up
        print(f"  {name:38} {per_s:8.0f} {cpu_ms:12.2f}")


def measured(promise: Callable[[], None]) -> tuple[float, float]:
    began, cpu = time.monotonic(), time.process_time()
    promise()
    took_s, used_s = time.monotonic() - began, time.process_time() - cpu
    return NUMBER / took_s, 1000 * used_s / NUMBER


def queues() -> dict[str, Any]:
    """Where each kind of message is, on the broker of its app."""
    return {"messages": (plain, "plain"), "bells": (current_app, "kaiten")}


def written() -> dict[str, int]:
    counts = {"rows": Work.objects.count(), "jobs": Job.objects.count()}
    for kind, (app, queue) in queues().items():
        with app.connection_for_write() as broker:
            counts[kind] = broker.default_channel._size(queue)
    return {kind: number for kind, number in counts.items() if number}


def empty_the_tables() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE bench_work, {Job._meta.db_table}")
    for app, queue in queues().values():
        with app.connection_for_write() as broker:
            broker.default_channel.queue_purge(queue)
