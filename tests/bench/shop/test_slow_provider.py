"""Orders a second while the payment provider takes its time, and whether those of a quick one feel
it.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from celery_ledger.models import Job
from orders.inputs.order import OrderInput
from orders.models import Client, Order
from orders.payments.sandbox_book import SandboxCharge
from orders.tasks import place
from tests.promises.processes import Stack, Tree, children_of
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
ORDERS_OF = {1: 200, 5: 300}  # seconds that the provider takes, and how many orders wait for it
BESIDE_S, BESIDE, QUICK = 10, 80, 100


@pytest.fixture
def order(shop: Client, stock: Any, order_body: Callable[..., dict[str, Any]]) -> Any:
    stock(on_hand=10**6)

    def one(name: str, token: str) -> None:
        body = order_body(external_id=name, payment={"token": token})
        with transaction.atomic():
            place(shop, OrderInput.model_validate(body))

    return one


@pytest.mark.parametrize("seconds", ORDERS_OF)
def test_orders_a_second_with_a_slow_provider(stack: Stack, order: Any, seconds: int) -> None:
    count = ORDERS_OF[seconds]
    worker = started(stack, seconds)
    for number in range(count):
        order(f"slow-{number}", "tok_slow")
    began = time.monotonic()
    confirmed = Order.objects.filter(state="confirmed")
    until(lambda: confirmed.count() == count, "all are confirmed", within_s=250)
    took_s = time.monotonic() - began
    assert SandboxCharge.objects.filter(status="succeeded").count() == count
    print(f"\nprovider takes {seconds} s: {count / took_s:.1f} orders/s, one worker")
    print(f"  {memory(worker)} MB PSS of the worker, all processes")


def test_orders_of_a_quick_provider_beside_a_slow_one(stack: Stack, order: Any) -> None:
    """The same card of the sandbox stands for another provider."""
    started(stack, BESIDE_S)
    waits: dict[str, list[float]] = {"alone": [], "beside": []}
    for number in range(QUICK):
        waits["alone"].append(seconds_to_confirm(order, f"alone-{number}"))
    for number in range(BESIDE):
        order(f"slow-{number}", "tok_slow")
    slow = Job.objects.filter(task="orders.tasks.charge", state="running")
    until(lambda: slow.count() == BESIDE, "the slow ones wait", within_s=60)
    for number in range(QUICK):
        if slow.count() < BESIDE // 2:
            break
        waits["beside"].append(seconds_to_confirm(order, f"beside-{number}"))
    assert waits["beside"], "the slow ones had ended"
    alone, beside = (statistics.median(waits[name]) for name in ("alone", "beside"))
    print(
        f"\na quick order, {BESIDE} others waiting {BESIDE_S} s each: {beside * 1000:.0f} ms "
        f"({len(waits['beside'])} of them), alone {alone * 1000:.0f} ms: × {beside / alone:.2f}"
    )


def started(stack: Stack, seconds: int) -> Tree:
    worker = stack.start("worker", "--concurrency", "2", SLOW_S=str(seconds))
    until(lambda: "ready." in worker.output(), "the worker is ready", within_s=60)
    return worker


def seconds_to_confirm(order: Any, name: str) -> float:
    began = time.monotonic()
    order(name, "tok_ok")
    confirmed = Order.objects.filter(external_id=name, state="confirmed")
    until(confirmed.exists, "it is confirmed", within_s=60)
    return time.monotonic() - began


def memory(tree: Tree) -> int:
    """Proportional set size of all processes of a tree, in MB."""
    total = 0
    for pid in [tree.process.pid, *descendants(tree.process.pid)]:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return total // 1024


def descendants(pid: int) -> list[int]:
    return [each for child in children_of(pid) for each in (child, *descendants(child))]
