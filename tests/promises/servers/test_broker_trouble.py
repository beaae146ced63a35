"""Flush the broker, lose it, freeze it, fill it: orders are taken, and worked off after it."""

import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis

from celery_ledger.models import Job, Worker
from config.embedded import server as embedded
from orders.models import ApiKey, Client, Order
from tests.machine.ports import free_port
from tests.promises.processes import Stack, Tree, Web
from tests.promises.tasks import nap
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


@pytest.fixture
def place(shop: Client, stock: Any, order_body: Callable[..., Any]) -> Callable[[Web, int], int]:
    key = ApiKey.objects.issue(shop, [])
    stock()

    def post(web: Web, number: int) -> int:
        body = order_body(external_id=f"o-{number}")
        status, _, _ = web.ask(
            "POST", "/v1/orders", body, Authorization=f"Bearer {key}", Idempotency_Key=f"k-{number}"
        )
        return status

    return post


@pytest.fixture
def nobody() -> str:
    return f"redis://127.0.0.1:{free_port()}/0"


@pytest.fixture
def black_hole() -> Iterator[str]:
    """Takes connections and never answers: without socket timeouts a request hangs for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.fixture
def full(broker: Redis, broker_url: str) -> Iterator[str]:
    before = broker.config_get("maxmemory")["maxmemory"]
    assert before is not None
    broker.config_set("maxmemory", "1")
    yield broker_url
    broker.config_set("maxmemory", before)


@pytest.mark.soak
@pytest.mark.parametrize(
    "trouble",
    ["nobody", *(pytest.param(name, marks=pytest.mark.soak) for name in ("black_hole", "full"))],
)
def test_orders_are_taken_without_a_broker_and_worked_off_with_it(
    stack: Stack,
    place: Callable[[Web, int], int],
    broker: Redis,
    trouble: str,
    request: pytest.FixtureRequest,
) -> None:
    web = stack.start_web(REDIS_URL=request.getfixturevalue(trouble))
    assert [place(web, number) for number in range(5)] == [202] * 5
    status, _, ready = web.ask("GET", "/readyz")
    assert (status, ready["database"], ready["broker"]) == (200, "ok", "degraded")
    assert (
        Job.objects.filter(state="waiting").count(),
        Order.objects.filter(state="received").count(),
    ) == (10, 5)
    if trouble == "full":
        broker.config_set("maxmemory", "64mb")
    stack.start("worker")
    until(
        lambda: Order.objects.filter(state="confirmed").count() == 5,
        "the orders are confirmed",
        within_s=60,
    )


@pytest.mark.soak
def test_orders_are_taken_while_a_broker_that_was_well_is_frozen(
    stack: Stack, place: Callable[[Web, int], int], broker: Redis
) -> None:
    """Not the same as a black hole: the connection stands already and takes what is written."""
    web = stack.start_web()
    assert place(web, 0) == 202
    pid = int(broker.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        assert [place(web, number) for number in range(1, 6)] == [202] * 5
    finally:
        os.kill(pid, signal.SIGCONT)
    stack.start("worker")
    until(
        lambda: Order.objects.filter(state="confirmed").count() == 6,
        "the orders are confirmed",
        within_s=60,
    )


def test_a_worker_waits_for_a_broker_that_is_away_and_beats_meanwhile(
    stack: Stack, nobody: str
) -> None:
    """Its jobs must not be taken for lost only because the broker is."""
    worker = stack.start("worker", REDIS_URL=nobody)
    until(Worker.objects.exists, "the worker beats", within_s=30)
    first = Worker.objects.get().seen_at
    until(lambda: Worker.objects.get().seen_at > first, "the worker goes on beating", within_s=10)
    assert worker.process.poll() is None


@pytest.mark.soak
def test_a_worker_hears_what_a_full_broker_holds_and_goes_on_when_there_is_room(
    stack: Stack, place: Callable[[Web, int], int], broker: Redis, request: pytest.FixtureRequest
) -> None:
    """Hearing takes no room, or a broker that is full of bells would stay full."""
    assert place(stack.start_web(), 1) == 202
    assert (broker.llen("kaiten"), broker.llen("mails")) == (1, 1), "the bells were rung"
    request.getfixturevalue("full")
    worker = stack.start("worker")
    until(
        lambda: not Order.objects.filter(state="received").exists(),  # it may be confirmed already
        "the order's first bell is heard",
        within_s=60,
    )
    until(lambda: broker.llen("mails") == 0, "the other one too", within_s=20)
    assert broker.llen("payments") == 0, "nothing can be rung"
    broker.config_set("maxmemory", "64mb")
    until(
        lambda: Order.objects.filter(state="confirmed").exists(),
        "the order is confirmed",
        within_s=60,
    )
    assert worker.process.poll() is None
    assert "Connection to broker lost" not in worker.output()


@pytest.mark.soak
def test_a_worker_whose_line_broke_while_it_held_all_it_may_hears_again(
    stack: Stack, tally: Callable[[], Counter[int]], broker: Redis, broker_url: str, tmp_path: Path
) -> None:
    """It listened to nobody then, so it was not told. What it could not hand back must not fill its
    hands for ever.
    """
    proxy = Proxy(broker_url, tmp_path)
    try:
        worker = start_worker_of_one(stack, proxy.url)
        nap.delay(1, 8)
        until(
            lambda: Job.objects.filter(state="running").exists(), "the first job runs", within_s=60
        )
        second = nap.delay(2, 0)
        until(
            lambda: f"[{second.id}] received" in worker.output(),
            "the worker holds the second bell",
            within_s=20,
        )
        proxy.cut()
        assert tally() == {}, "the line broke while the first job ran"
        until(lambda: tally() == {1: 1, 2: 1}, "both jobs are done without a broker", within_s=30)
        proxy.mend()
        nap.delay(3, 0)
        until(
            lambda: tally() == {1: 1, 2: 1, 3: 1}, "the worker hears of the third job", within_s=30
        )
        assert "Connection to broker lost" in worker.output()
        assert "Deprecation" not in worker.output()
    finally:
        proxy.cut()


class Proxy:
    """A process through which a worker reaches the broker."""

    def __init__(self, broker_url: str, folder: Path) -> None:
        port = embedded.free_port()  # which is not given to others while it is cut
        server = urlsplit(broker_url)
        login = server.netloc.rpartition("@")[0]
        self.url = server._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()
        module = "tests.promises.chaos.outside.line"
        self._command = [sys.executable, "-m", module, str(port), str(server.port)]
        self._log = folder / "line.log"
        self.mend()

    def mend(self) -> None:
        self._tree = Tree(self._command, {}, self._log)

    def cut(self) -> None:
        self._tree.kill()


def start_worker_of_one(stack: Stack, broker_url: str) -> Tree:
    included = "tests.promises.tasks,tests.promises.included.received"
    return stack.start("worker", "--include", included, "--concurrency", "1", REDIS_URL=broker_url)
