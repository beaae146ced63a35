"""What an order costs: CPU of the web dyno that takes it and of the worker that works it off and
tells of it. Statements and jobs, which no machine changes, are bounded in
`tests/orders/test_cost.py`.
"""

import json
import os
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from celery_ledger.models import Job
from orders.models import ApiKey, Client, Order
from tests.promises.processes import Stack, Tree, Web, children_of
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
WARM, ORDERS = 20, 300
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
Body = Callable[..., dict[str, Any]]


def test_taking_an_order_and_working_it_off(
    stack: Stack, shop: Client, stock: Any, order_body: Body
) -> None:
    stock(on_hand=10**6)
    key = ApiKey.objects.issue(shop, [])
    web, worker = stack.start_web(RATE_LIMIT_PER_MINUTE="100000"), stack.start("worker")
    place(web, key, order_body, range(WARM))
    until(all_is_done, "the warm-up is over", within_s=60)
    worker.kill()

    before = cpu_s(web.tree)
    place(web, key, order_body, range(WARM, WARM + ORDERS))
    taken_s = cpu_s(web.tree) - before
    print(f"\n{ORDERS} orders: taken at {ORDERS / taken_s:.0f} a CPU second of the web dyno")

    worker = stack.start("worker", "--concurrency", "1")
    until(lambda: "ready" in worker.output(), "the worker is ready", within_s=60)
    before = cpu_s(worker)
    until(all_is_done, "all are confirmed and told", within_s=240)
    done_s = cpu_s(worker) - before
    assert Order.objects.filter(state="confirmed").count() == WARM + ORDERS
    jobs = Job.objects.count() / (WARM + ORDERS)
    print(
        f"confirmed and told at {ORDERS / done_s:.1f} a CPU second of the worker, "
        f"{jobs:g} jobs each"
    )


def place(web: Web, key: str, order_body: Body, numbers: range) -> None:
    connection = HTTPConnection("127.0.0.1", web.port, timeout=15)
    for number in numbers:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": str(number)}
        body = json.dumps(order_body(external_id=f"order-{number}"))
        connection.request("POST", "/v1/orders", body, headers)
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (202, True)
    connection.close()


def all_is_done() -> bool:
    return not Job.objects.exclude(state="done").exists()


def cpu_s(tree: Tree) -> float:
    """What the processes of this tree have had of the processors."""
    pids = [tree.process.pid]
    for pid in pids:
        pids += children_of(pid)
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:13]))  # utime, stime
    return ticks / TICKS_A_SECOND
