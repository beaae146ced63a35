"""What a quiet client feels of one that floods."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from celery_ledger import context, together
from celery_ledger.models import Job
from orders.inputs.order import OrderInput
from orders.models import Client, Order
from orders.tasks import place
from tests.promises import tasks
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
FLOOD, QUIET, AT_ONCE = 10_000, 60, 500


def test_a_quiet_clients_orders_beside_ten_thousand_jobs_of_another(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., dict[str, Any]], tally: Any
) -> None:
    """The flood: jobs of the same queue as an order's first, and calls outside that take 0.1 s."""
    stock(on_hand=10**6)
    worker = stack.start("worker", "--concurrency", "2", "--include", "tests.promises.tasks")
    until(lambda: "ready." in worker.output(), "the worker is ready", within_s=60)
    confirm = partial(seconds_to_confirm, shop, order_body)
    idle = [confirm(f"idle-{number}") for number in range(QUIET)]
    floods: dict[str, Callable[[int], Any]] = {
        "jobs": tasks.count_quickly.delay,
        "calls": lambda number: tasks.call.delay(number, 0.1),
    }
    for kind, promise in floods.items():
        promised_s = flood(promise)
        flooded = Job.objects.filter(owner="flood", state="waiting")
        assert flooded.count() > FLOOD // 2
        beside = []
        for number in range(QUIET):
            beside.append(confirm(f"{kind}-{number}"))
            if not flooded.exists():
                break
        print(
            f"\n{FLOOD} {kind} of another ({FLOOD / promised_s:.0f}/s promised, "
            f"{flooded.count()} left): {figures(beside)} ({len(beside)} orders); "
            f"idle {figures(idle)}: p95 × {p95(beside) / p95(idle):.1f}"
        )
        flooded.delete()


def seconds_to_confirm(shop: Client, order_body: Callable[..., dict[str, Any]], name: str) -> float:
    began = time.monotonic()
    with transaction.atomic():
        place(shop, OrderInput.model_validate(order_body(external_id=name)))
    confirmed = Order.objects.filter(external_id=name, state="confirmed")
    until(confirmed.exists, "it is confirmed", within_s=60)
    return time.monotonic() - began


def flood(promise: Callable[[int], Any]) -> float:
    """Seconds that promising took. In one transaction, or it is half worked off by then."""
    began = time.monotonic()
    with context.bound(client="flood"), transaction.atomic():
        for start in range(0, FLOOD, AT_ONCE):
            with together():
                for number in range(start, start + AT_ONCE):
                    promise(number)
    return time.monotonic() - began


def figures(times: list[float]) -> str:
    return f"p50 {statistics.median(times) * 1000:.0f} ms, p95 {p95(times) * 1000:.0f} ms"


def p95(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)]
