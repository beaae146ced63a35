"""The order in which a worker looks into its queues."""

from mmap import mmap
from typing import Any

import pytest
from celery import current_app as celery_app

from celery_ledger.celery import transport
from celery_ledger.celery.transport import QueueOrder
from celery_ledger.threads.process import Threads

QUEUES = ["first", "mails", "bulk"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the code reads: a list of one, for the test to change."""
    now = [1000.0]
    monkeypatch.setattr(transport, "monotonic", lambda: now[0])
    return now


def test_one_that_nothing_came_from_for_long_comes_first_once(clock: list[float]) -> None:
    order = QueueOrder()
    order.update(QUEUES)  # type: ignore[no-untyped-call]
    assert order.consume(3) == QUEUES
    clock[0] += 59
    order.rotate("mails")
    assert order.consume(3) == QUEUES
    clock[0] += 2
    assert order.consume(3) == ["bulk", "first", "mails"]
    order.rotate("bulk")
    assert order.consume(3) == QUEUES
    clock[0] += 61
    assert order.consume(3) == ["mails", "bulk", "first"]
    order.rotate("mails")
    assert order.consume(2) == ["bulk", "first"]


def test_in_threads_one_call_of_it_begins_before_the_others(
    clock: list[float], settings: Any
) -> None:
    settings.LEDGER = {**settings.LEDGER, "THREADS_MAX": 9, "THREADS_KEPT": 2, "THREADS_BEGIN": 5}
    threads = Threads(celery_app, "here", read_end=0, pulse=mmap(-1, 1))
    threads.queues = QUEUES
    usual = [("first", 5), ("mails", 5), ("bulk", 2)]
    assert [*threads._rooms().items()] == usual
    clock[0] += 61
    assert [*threads._rooms().items()] == [("mails", 1), ("bulk", 2), ("first", 5)]
    threads.calls = [*range(8)]
    assert [*threads._rooms().items()] == [("mails", 1), ("bulk", 1), ("first", 1)]
    threads.calls = [*range(9)]
    assert {*threads._rooms().values()} == {0}
    threads._patience.took_from("mails")
    threads._patience.took_from("bulk")
    threads.calls = []
    assert [*threads._rooms().items()] == usual
