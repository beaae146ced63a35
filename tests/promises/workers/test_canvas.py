"""Chains, groups and chords with real workers, killed and with the broker flushed in between."""

import signal

import pytest
from celery import chain, chord, group
from celery.result import AsyncResult, GroupResult
from redis import Redis

from celery_ledger.models import Job
from celery_ledger.models.chord import Chord
from tests.celery_ledger import tasks
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
PARTS = 60


@pytest.mark.soak
def test_a_chord_fires_once_whatever_dies_and_whatever_the_broker_forgets(
    stack: Stack, broker: Redis
) -> None:
    fired = chord(
        [tasks.slow_add.s(n, n) for n in range(PARTS)], tasks.total.s() | tasks.add.s(1)
    ).apply_async()
    broker.flushdb()
    options = ("--include", "tests.celery_ledger.tasks", "--concurrency", "4")
    first = stack.start("worker", *options)
    until(
        lambda: Job.objects.filter(state="done").count() >= PARTS // 3,
        "a third is done",
        within_s=60,
    )
    first.signal(signal.SIGKILL)
    broker.flushdb()
    stack.start("worker", *options)
    assert fired.get(timeout=90, interval=0.1) == 2 * sum(range(PARTS)) + 1
    assert Job.objects.filter(task="tests.celery_ledger.tasks.total").count() == 1
    assert (
        Job.objects.filter(task="tests.celery_ledger.tasks.slow_add", state="done").count() == PARTS
    )
    assert not Chord.objects.filter(fired=False).exists()


@pytest.mark.soak
def test_results_come_back_to_whoever_waits(stack: Stack) -> None:
    stack.start("worker", "--include", "tests.celery_ledger.tasks")
    assert (
        chain(tasks.add.s(1, 1), tasks.add.s(40)).apply_async().get(timeout=60, interval=0.1) == 42
    )
    assert group(tasks.add.s(n, n) for n in range(5)).apply_async().get(
        timeout=60, interval=0.1
    ) == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="no such luck"):
        tasks.note_then_fail.delay("a").get(timeout=60, interval=0.1)


SHELL = """
from celery import chain, chord, group
from tests.celery_ledger.tasks import add, total
print(chain(add.s(1, 1), add.s(40)).apply_async().id)
print(group(add.s(n, n) for n in range(3)).apply_async().save().id)
print(chord([add.s(n, n) for n in range(4)], total.s()).apply_async().id)
"""


@pytest.mark.soak
def test_shapes_from_the_shell_come_to_their_results_though_the_broker_was_flushed(
    stack: Stack, broker: Redis
) -> None:
    *_, chained, grouped, body = stack.run("manage.py", "shell", "-v", "0", "-c", SHELL).split()
    assert broker.llen("kaiten") == 8
    broker.flushdb()
    stack.start("worker", "--include", "tests.celery_ledger.tasks")
    assert AsyncResult(chained).get(timeout=60, interval=0.1) == 42
    assert GroupResult.restore(grouped).get(timeout=60, interval=0.1) == [0, 2, 4]
    assert AsyncResult(body).get(timeout=60, interval=0.1) == 12
