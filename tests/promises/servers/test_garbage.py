"""Whatever stands in the broker's list, the worker lives and nothing happens that no row says."""

import base64
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from celery_ledger.models import Job, Worker
from orders.inputs.order import OrderInput
from orders.models import Client, Order
from orders.tasks import place
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


def message(headers: dict[str, Any], body: Any = ((), {}, {}), **changes: Any) -> str:
    fields = {
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "root_id": "x", "argsrepr": "", "kwargsrepr": "", **headers},
        "properties": {
            "correlation_id": "x",
            "delivery_mode": 2,
            "delivery_tag": str(uuid4()),
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": "kaiten"},
            "priority": 0,
        },
    }
    return json.dumps({**fields, **changes})


def first_protocol() -> str:
    """As Celery spoke before its fourth version: all in the body."""
    body = {"task": RESERVE, "id": str(uuid4()), "args": [], "kwargs": {}}
    return json.dumps({**json.loads(message({}, body)), "headers": {}})


RESERVE = "orders.tasks.reserve"
GARBAGE: list[str | bytes] = [
    "x",
    "",
    "[1,2,3]",
    "null",
    "7",
    '"text"',
    "{}",
    b"\xff\xfe\x00",
    '{"body": 1}',
    "[" * 5000,
    "[" * 500_000,
    message({}, properties={}),
    message({}, properties=None),
    message({}, body="***not base64***"),
    message({}, **{"content-type": "application/x-python-serialize"}),
    message({"task": RESERVE, "id": "not-a-uuid"}),
    message({"task": RESERVE, "id": str(uuid4())}, body=(["forged"], {}, {})),
    message({"task": RESERVE, "id": str(uuid4()), "timelimit": ["soon", {}]}),
    message({"task": RESERVE, "id": str(uuid4()), "expires": "never", "eta": "tomorrow"}),
    message({"task": RESERVE, "id": None}),
    message({"task": "os.system", "id": str(uuid4())}, body=(["true"], {}, {})),
    message({"task": RESERVE, "id": str(uuid4())}, body="no arguments"),
    message({"task": RESERVE, "id": str(uuid4())}, body=None),
    message({"task": RESERVE, "id": str(uuid4()), "also": "x", "batch": [], "alone": {}}),
    *[first_protocol() for _ in range(4)],  # more than a worker of two processes may hold
]


def test_garbage_and_forged_bells_neither_kill_the_worker_nor_do_anything(
    stack: Stack, broker: Redis, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock()
    order = place(shop, OrderInput.model_validate(order_body()))
    worker = stack.start("worker")
    until(lambda: Order.objects.get().state == "confirmed", "the worker works", within_s=60)
    until(
        lambda: not Job.objects.exclude(state="done").exists(),
        "its first work is done",
        within_s=30,
    )
    jobs = Job.objects.count()
    for index, garbage in enumerate(GARBAGE):
        broker.lpush("kaiten", garbage)
        until(lambda: broker.llen("kaiten") == 0, f"garbage {index} is taken", within_s=20)
        assert worker.process.poll() is None, f"garbage {index} killed the worker"

    after = place(shop, OrderInput.model_validate(order_body(external_id="after")))
    until(
        lambda: Order.objects.get(pk=after.pk).state == "confirmed",
        "the worker still works",
        within_s=30,
    )
    until(
        lambda: Job.objects.filter(state="done").count() == 2 * jobs,
        "exactly this work is done",
        within_s=30,
    )
    assert Order.objects.get(pk=order.pk).version == 3


@pytest.mark.soak
def test_a_name_of_a_queue_that_holds_something_else_stops_no_queue(
    stack: Stack, broker: Redis, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    """No worker could listen to it, nor to those that it reads after it."""
    stock()
    stack.start("worker")
    until(Worker.objects.exists, "the worker beats", within_s=60)
    for queue in ("kaiten", "payments"):
        broker.set(queue, "no list")
    place(shop, OrderInput.model_validate(order_body()))
    until(lambda: Order.objects.get().state == "confirmed", "the order moves", within_s=60)
    assert b"string" not in [broker.type(queue) for queue in ("kaiten", "payments")]
