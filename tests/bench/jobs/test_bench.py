"""Figures, side by side in one run, as ratios of medians. `bin/bench` prints them; nothing is
asserted about time.
"""

import os
import signal
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from redis import Redis

from celery_ledger.models import Job
from config.embedded.broker import Broker
from orders.models import ApiKey, Client, Order
from tests.celery_ledger import tasks
from tests.machine.ports import free_port
from tests.promises.processes import Stack, Web
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
POSTS, JOBS = 120, 2000


def test_taking_an_order_while_the_broker_is_in_trouble(
    stack: Stack,
    shop: Client,
    stock: Any,
    order_body: Callable[..., Any],
    broker_url: str,
    tmp_path: Path,
) -> None:
    stock(on_hand=10**6)
    key = ApiKey.objects.issue(shop, [])
    with ExitStack() as held:
        hole = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        frozen, full = (
            held.enter_context(broker_of_its_own(tmp_path / name)) for name in ("frozen", "full")
        )
        brokers = {
            "healthy": broker_url,
            "nobody there": f"redis://127.0.0.1:{free_port()}/0",
            "black hole": f"redis://127.0.0.1:{hole.getsockname()[1]}/0",
            "frozen": frozen.url,
            "full": full.url,
        }
        webs = {name: stack.start_web(REDIS_URL=url) for name, url in brokers.items()}
        place_in_turn(webs, key, order_body, 1, "first")  # while those two are well
        os.kill(frozen.pid or 0, signal.SIGSTOP)
        with Redis.from_url(full.url) as client:
            client.config_set("maxmemory", "1")
        times = place_in_turn(webs, key, order_body, POSTS, "later")
    assert Order.objects.count() == len(webs) * (POSTS + 1)
    print_ratios(times)


def place_in_turn(
    webs: dict[str, Web], key: str, order_body: Callable[..., Any], number: int, called: str
) -> dict[str, list[float]]:
    """So many orders by each. In seconds."""
    times: dict[str, list[float]] = {name: [] for name in webs}
    for index in range(number):
        for name, web in webs.items():
            body = order_body(external_id=f"{name}-{called}-{index}")
            times[name].append(seconds_to_place(web, key, body))
    return times


def print_ratios(times: dict[str, list[float]]) -> None:
    healthy = statistics.median(times["healthy"])
    print(
        f"\nPOST /v1/orders, {POSTS} each in turn; "
        f"median {healthy * 1000:.1f} ms with a healthy broker"
    )
    for name, taken in times.items():
        print(
            f"  {name:13} median × {statistics.median(taken) / healthy:.2f}, "
            f"slowest {max(taken) * 1000:.0f} ms"
        )


@contextmanager
def broker_of_its_own(folder: Path) -> Iterator[Broker]:
    folder.mkdir()
    broker = Broker(folder)
    broker.ensure()
    try:
        yield broker
    finally:
        if broker.pid:
            os.kill(broker.pid, signal.SIGCONT)
        broker.stop()


def seconds_to_place(web: Web, key: str, body: Any) -> float:
    start = time.perf_counter()
    headers = {"Authorization": f"Bearer {key}", "Idempotency_Key": body["external_id"]}
    status, _, _ = web.ask("POST", "/v1/orders", body, **headers)
    assert status == 202
    return time.perf_counter() - start


def test_working_off_jobs_on_one_worker(stack: Stack) -> None:
    def promise() -> float:
        start = time.perf_counter()
        with transaction.atomic():
            for number in range(JOBS):
                tasks.add.delay(number, 1)
        return time.perf_counter() - start

    warm = tasks.add.delay(0, 0)
    stack.start("worker", "--include", "tests.celery_ledger.tasks")
    until(lambda: Job.objects.get(pk=warm.id).state == "done", "the worker works", within_s=60)
    promised_s = promise()
    start = time.perf_counter()
    until(lambda: not Job.objects.exclude(state="done").exists(), "all jobs are done", within_s=240)
    done_s = time.perf_counter() - start
    assert Job.objects.filter(attempts=1, losses=0).count() == JOBS + 1
    print(
        f"\n{JOBS} jobs: promised at {JOBS / promised_s:.0f}/s, "
        f"worked off by two processes at {JOBS / done_s:.0f}/s"
    )
