"""The promise on brokers of other kinds, named by their URL alone."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.worker.consumer import Consumer

from celery_ledger.celery.consumer import LedgerConsumer
from celery_ledger.models import Job
from orders.models import ApiKey, Client, Order
from tests.promises import tasks
from tests.promises.brokers.servers import Broker, running
from tests.promises.processes import Stack, Tree, Web
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]
RARELY = pytest.mark.soak  # the first stands for them at every push
ORDERS = 12


@pytest.fixture(
    params=["rabbitmq", *(pytest.param(name, marks=RARELY) for name in ("sqs", "tls-redis"))]
)
def other_broker(
    request: pytest.FixtureRequest, tmp_path: Path, broker: Any, broker_url: str
) -> Iterator[Broker]:
    with running(request.param, tmp_path, broker_url) as other:
        yield other


@pytest.fixture
def dynos(stack: Stack, other_broker: Broker) -> Stack:
    stack.environment |= {"REDIS_URL": "", "BROKER_URL": other_broker.url}
    return stack


@pytest.fixture
def place(shop: Client, stock: Any, order_body: Callable[..., Any]) -> Callable[[Web, int], int]:
    key = ApiKey.objects.issue(shop, [])
    stock(on_hand=1000)

    def post(web: Web, number: int) -> int:
        body = order_body(external_id=f"o-{number}")
        status, _, _ = web.ask(
            "POST", "/v1/orders", body, Authorization=f"Bearer {key}", Idempotency_Key=f"k-{number}"
        )
        return status

    return post


@pytest.mark.soak
def test_orders_go_on_whatever_happens_to_worker_and_broker(
    dynos: Stack,
    other_broker: Broker,
    place: Callable[[Web, int], int],
    tally: Callable[[], Counter[int]],
) -> None:
    """A worker killed at work, the broker emptied, then frozen: each order is confirmed, each
    effect there once.
    """
    web = dynos.start_web()
    assert [place(web, number) for number in range(ORDERS)] == [202] * ORDERS
    until(lambda: web.ask("GET", "/readyz")[2]["broker"] == "ok", "it takes bells", within_s=30)
    for number in range(3 * ORDERS):
        # rings the tests' own broker: this one's clocks have to ring again
        tasks.tally.delay(number)
    kill_at_work(start_worker(dynos))
    other_broker.empty()
    worker = start_worker(dynos)
    until(all_finished, "every job is done", within_s=90)
    other_broker.freeze()
    assert place(web, ORDERS) == 202
    assert web.ask("GET", "/readyz")[2]["broker"] == "degraded"
    other_broker.thaw()
    until(all_finished, "the last order is worked off", within_s=90)
    assert Order.objects.filter(state="confirmed").count() == ORDERS + 1
    assert tally() == Counter(range(3 * ORDERS))
    assert worker.process.poll() is None


def test_rabbitmq_keeps_our_queues_and_no_others() -> None:
    """Celery would set up 28 for jobs of later, which wait in Postgres here."""
    ours, its = LedgerConsumer.Blueprint.default_steps, Consumer.Blueprint.default_steps
    assert set(its) - set(ours) == {"celery.worker.consumer.delayed_delivery:DelayedDelivery"}


def start_worker(dynos: Stack) -> Tree:
    return dynos.start("worker", "--include", "tests.promises.tasks")


def kill_at_work(worker: Tree) -> None:
    until(lambda: Job.objects.filter(state="running").exists(), "it works", within_s=60)
    worker.signal(signal.SIGKILL)
    worker.process.wait(timeout=10)


def all_finished() -> bool:
    assert list(Job.objects.filter(state__in=("dead", "cancelled")).values("task", "error")) == []
    return not Job.objects.exclude(state="done").exists()
