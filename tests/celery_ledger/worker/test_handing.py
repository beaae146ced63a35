"""What a worker's main process hands to a process of its pool: a bell, and those of the same task
that wait behind it.
"""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from celery import current_app as celery_app
from celery.concurrency import prefork, solo
from celery.worker import state
from kombu import Queue
from redis import Redis, ResponseError

from celery_ledger.celery import handing
from celery_ledger.celery.transport import SturdyChannel
from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job
from celery_ledger.publishing import broker_options
from celery_ledger.publishing.bell import Ring
from tests.celery_ledger import tasks

QUEUE, IDS = "kaiten", [f"0198c2de-0000-7000-8000-00000000000{number}" for number in range(8)]
NOTE = tasks.note.name


class Worker:
    """A stand-in for a worker's main process: what it hands to the pool, and what is accepted."""

    def __init__(self, broker: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker, self.now = broker, 1000.0
        self.connection = celery_app.connection_for_read(
            transport=broker_options.transport_of_a_worker(celery_app.conf.broker_url),
            transport_options=broker_options.for_a_worker(celery_app.conf.broker_url),
        )
        self.reserved: set[Any] = {"another request"}
        self.handed: list[list[str]] = []
        self.accept: list[Any] = []
        self.consumer = SimpleNamespace(
            controller=SimpleNamespace(pool_cls=prefork.TaskPool),
            pool=SimpleNamespace(num_processes=2),
        )
        monkeypatch.setattr(handing, "monotonic", lambda: self.now)
        monkeypatch.setattr(state, "reserved_requests", self.reserved)
        monkeypatch.setattr(handing, "_accepted", {})
        self.hand_over = handing.handler_of_several(tasks.note, self.by_pool, self.consumer)

    def by_pool(self, message: Any, body: Any, ack: Any, *rest: Any) -> None:
        self.handed.append([message.headers.get("id"), *message.headers.get("also", [])])
        self.accept.append((message.headers.get("id"), ack))

    def hear(self, pid: int = 7) -> list[str]:
        """Deliver the next bell of the queue, and let a process accept it at once."""
        message = Queue(QUEUE, channel=self.connection.default_channel).get(no_ack=True)
        self.hand_over(message, None, lambda *_: None)
        id_, ack = self.accept.pop()
        state.requests[id_] = SimpleNamespace(worker_pid=pid)
        ack()
        del state.requests[id_]
        return self.handed[-1]

    def empty_the_queue(self) -> None:
        self.broker.delete(QUEUE)

    def knows_short_jobs(self) -> None:
        """Let the worker have seen many jobs of 5 ms each."""
        for _ in range(6):
            ring(NOTE, IDS[:1])
            self.hear()
            self.now += 0.005


@pytest.fixture
def worker(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    worker = Worker(broker, monkeypatch)
    worker.knows_short_jobs()
    yield worker
    worker.connection.release()


def ring(task: str, ids: list[str], **options: Any) -> None:
    options = {"batch": True, **options}
    celery_app.amqp.bell.ring([Ring(id_, task, QUEUE, **options) for id_ in ids])


def waiting(broker: Redis) -> list[str]:
    return [json.loads(raw)["headers"]["id"] for raw in reversed(broker.lrange(QUEUE, 0, -1))]


def test_bells_that_wait_behind_one_of_a_short_task_are_handed_over_with_it(worker: Worker) -> None:
    ring(NOTE, IDS[:5])
    assert worker.hear() == IDS[:5]


def test_no_more_than_take_half_of_a_batchs_time_or_than_a_batch_may_hold(
    worker: Worker, broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_settings, "BATCH_S", 0.031)  # three of 5 ms
    ring(NOTE, IDS)
    assert worker.hear() == IDS[:3]
    assert waiting(broker) == IDS[3:]
    monkeypatch.setattr(ledger_settings, "BATCH_S", 5)
    monkeypatch.setattr(ledger_settings, "BATCH_ATTEMPTS", 2)
    assert worker.hear() == IDS[3:5]


def test_bells_of_other_tasks_or_limits_and_of_those_tried_before_stay_in_their_order(
    worker: Worker, broker: Redis
) -> None:
    ring(NOTE, IDS[:2])
    ring(tasks.add.name, [IDS[2]])
    ring(NOTE, [IDS[3]], timelimit=(9, 8))
    ring(NOTE, [IDS[4]], batch=False)
    ring(NOTE, [IDS[5]])
    assert worker.hear() == [*IDS[:2], IDS[5]]
    assert waiting(broker) == IDS[2:5]


def test_one_that_was_tried_before_is_handed_over_by_itself(worker: Worker, broker: Redis) -> None:
    ring(NOTE, IDS[:2], batch=False)
    assert worker.hear() == IDS[:1]
    assert waiting(broker) == IDS[1:2]


@pytest.mark.parametrize(
    "garbage",
    [
        b"no json",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"headers": []}',
        b'{"headers": {"id": 1}}',
        b"\xff",
    ],
)
def test_what_is_no_bell_stays_for_whoever_drops_it(
    worker: Worker, broker: Redis, garbage: bytes
) -> None:
    ring(NOTE, IDS[:1])
    broker.lpush(QUEUE, garbage)
    ring(NOTE, IDS[1:2])
    assert worker.hear() == IDS[:2]
    assert broker.lrange(QUEUE, 0, -1) == [garbage]


def test_while_another_process_is_idle_it_leaves_them_to_that(
    worker: Worker, broker: Redis
) -> None:
    worker.reserved.clear()
    ring(NOTE, IDS[:3])
    assert worker.hear() == IDS[:1]
    assert waiting(broker) == IDS[1:3]


def test_a_slow_job_is_remembered_for_as_long_as_five_others(worker: Worker) -> None:
    """The time of a job is known when its process accepts the next, so it counts from the one
    after.
    """
    sizes = []
    for took_s in (2, *[0.005] * 7):
        ring(NOTE, IDS[:2])
        sizes.append(len(worker.hear()))
        worker.empty_the_queue()
        worker.now += took_s * sizes[-1]
    assert sizes == [2, 2, 1, 1, 1, 1, 1, 2]


def test_a_message_without_an_id_is_acknowledged_too(worker: Worker) -> None:
    """E.g. one of Celery's first protocol. Otherwise its place would be lost."""
    acknowledged = []
    message = SimpleNamespace(headers={}, channel=None, delivery_info={"routing_key": QUEUE})
    worker.hand_over(message, None, lambda *_: acknowledged.append("yes"))
    _, ack = worker.accept.pop()
    ack()
    assert acknowledged == ["yes"]


def test_the_time_of_a_process_is_that_of_what_it_accepted_before(worker: Worker) -> None:
    """That another process accepts a job says nothing about this one."""
    ring(NOTE, IDS[:1])
    worker.hear(pid=8)
    worker.now += 0.005
    ring(NOTE, IDS[:1])
    worker.hear(pid=9)
    worker.now += 60
    ring(NOTE, IDS[:2])
    assert worker.hear(pid=10) == IDS[:2]


def test_a_server_too_old_for_it_is_not_asked_again_for_a_while(
    worker: Worker, broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(*_: Any) -> None:
        asked.append("to give several")
        raise ResponseError("wrong number of arguments for 'rpop' command")

    monkeypatch.setattr(SturdyChannel, "take", refuse)
    ring(NOTE, IDS[:4])
    assert [worker.hear() for _ in range(2)] == [IDS[:1], IDS[1:2]]
    assert (waiting(broker), len(asked)) == (IDS[2:4], 1)
    worker.now += ledger_settings.BELL_REST_S
    worker.hear()
    assert len(asked) == 2


def test_which_jobs_ring_for_company() -> None:
    fresh, tried, part = (
        Job(id=UUID(id_), task=NOTE, queue=QUEUE, envelope={"headers": {}, "chord": None})
        for id_ in IDS[:3]
    )
    tried.attempts = 1
    part.envelope["chord"] = {"task": "any"}
    rings = [celery_app.amqp.ring_for(job).batch for job in (fresh, tried, part)]
    assert rings == [True, False, False]


@pytest.mark.parametrize("task", [tasks.note_outside, tasks.call])
def test_a_task_that_is_not_atomic_has_no_batches(worker: Worker, task: Any) -> None:
    assert handing.handler_of_several(task, worker.by_pool, worker.consumer) == worker.by_pool


def test_nor_has_one_with_a_rate_limit_or_that_says_so_or_a_pool_without_processes(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.note, "rate_limit", "5/s")
    assert handing.handler_of_several(tasks.note, worker.by_pool, worker.consumer) == worker.by_pool
    monkeypatch.setattr(tasks.note, "rate_limit", None)
    worker.consumer.controller.pool_cls = solo.TaskPool
    assert handing.handler_of_several(tasks.note, worker.by_pool, worker.consumer) == worker.by_pool
    worker.consumer.controller.pool_cls = prefork.TaskPool
    monkeypatch.setattr(tasks.note, "batched", False, raising=False)
    assert handing.handler_of_several(tasks.note, worker.by_pool, worker.consumer) == worker.by_pool
    monkeypatch.setattr(tasks.note, "batched", True)
    monkeypatch.setattr(ledger_settings, "BATCH_ATTEMPTS", 1)
    assert handing.handler_of_several(tasks.note, worker.by_pool, worker.consumer) == worker.by_pool
