"""What a client's dead webhook endpoint costs everybody's orders: time until they are confirmed, as
ratios in one run.

`bin/bench -k endpoint`. A dead endpoint is a port where nobody listens; a hanging one takes
connections and is silent. Each has been so for a while: EVENTS earlier events wait for it. For a
healthy one they have been delivered.
"""

import socket
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.db.models import Q, Sum
from django.db.models.functions import Now

from celery_ledger.models import Job
from notifications import events
from notifications.models import Endpoint
from orders.inputs.order import OrderInput
from orders.models import Client, Order
from orders.tasks import place
from tests.doubles.edges import WebhookSink
from tests.machine.ports import free_port
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]
EVENTS, ORDERS, ROUNDS = 1000, 100, 2
Body = Callable[..., dict[str, Any]]


def test_orders_beside_a_dead_endpoint(
    stack: Stack, shop: Client, stock: Any, order_body: Body, sink: WebhookSink
) -> None:
    stock(on_hand=10**6)
    with ExitStack() as held:
        hole = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        urls = {
            "healthy": sink.url,
            "dead": f"http://127.0.0.1:{free_port()}/",
            "hanging": f"http://127.0.0.1:{hole.getsockname()[1]}/",
        }
        stack.start("worker")
        orders(shop, order_body, "warm", 1)
        taken: dict[str, list[float]] = {name: [] for name in urls}
        claims: dict[str, list[int]] = {name: [] for name in urls}
        for index in range(ROUNDS):
            for name, url in urls.items():
                Endpoint.objects.create(owner=shop.pk, url=url, events=["*"])
                hear_of_much(shop)
                before = claims_of_deliveries()
                taken[name].append(orders(shop, order_body, f"{name}-{index}", ORDERS))
                claims[name].append(claims_of_deliveries() - before)
                forget()
    assert max(claims["dead"] + claims["hanging"]) < EVENTS // 4, "most of them stand in line"
    healthy = statistics.median(taken["healthy"])
    print(
        f"\n{ORDERS} orders confirmed, {ROUNDS} rounds in turn; "
        f"median {healthy:.1f} s with a healthy endpoint"
    )
    for name, seconds in taken.items():
        print(
            f"  {name:8} median × {statistics.median(seconds) / healthy:.2f}, "
            f"each {[round(s, 1) for s in seconds]} s; "
            f"deliveries claimed meanwhile {claims[name]}"
        )


def orders(shop: Client, order_body: Body, name: str, count: int) -> float:
    """Seconds until so many orders, placed at once, are confirmed."""
    with transaction.atomic():
        for index in range(count):
            place(shop, OrderInput.model_validate(order_body(external_id=f"{name}-{index}")))
    start = time.perf_counter()
    placed = Order.objects.filter(external_id__startswith=f"{name}-")
    until(
        lambda: placed.filter(state="confirmed").count() == count,
        f"{name}: all are confirmed",
        within_s=300,
    )
    return time.perf_counter() - start


def hear_of_much(shop: Client) -> None:
    with transaction.atomic():
        for _ in range(EVENTS):
            events.record(
                "order.held", subject=uuid4(), seq=1, owner=shop.pk, data={"order": {"version": 1}}
            )
    until(
        lambda: not _due().exists(),
        "the earlier events are announced, and tried or put off",
        within_s=300,
    )


def _due() -> Any:
    unclaimed = Q(task="notifications.tasks.line_up") | Q(attempts=0, due_at__lte=Now())
    return Job.objects.filter(unclaimed, state__in=("waiting", "running"))


def claims_of_deliveries() -> int:
    posts = Job.objects.filter(task="notifications.tasks.post_webhook")
    return int(posts.aggregate(Sum("attempts"))["attempts__sum"] or 0)


def forget() -> None:
    """Nothing of this round burdens the next."""
    Endpoint.objects.update(active=False)
    until(_cleared, "all jobs are gone", within_s=120)


def _cleared() -> bool:
    Job.objects.exclude(state="running").delete()
    return not Job.objects.exists()
