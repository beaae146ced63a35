"""How long somebody waits for an order while a large import is under way, against an idle shop.
`bin/bench`.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from celery_ledger.models import Job
from orders.imports.models import Import
from orders.models import ApiKey, Client, Order
from tests.bench.cpu import of_tree_and_its_dead
from tests.orders.imports.files import as_csv, cells
from tests.promises.processes import Stack, Web, children_of
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
ROWS, ORDERS, PAUSE_S = 100_000, 30, 0.25


def test_an_interactive_order_beside_an_import(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock(on_hand=10**6)
    key = ApiKey.objects.issue(shop, [])
    web = stack.start_web()
    worker = stack.start("worker").process.pid
    confirm = partial(times_to_confirm, web, key, order_body)
    confirm("warm", 1)
    idle = confirm("idle", ORDERS)
    begin_import(web, key)
    imported = Order.objects.filter(external_id__startswith="imported-", state="confirmed")
    until(lambda: imported.count() > 20, "the import is in full swing", within_s=240)
    start, before = time.perf_counter(), imported.count()
    cpu_before = of_tree_and_its_dead(worker)
    beside = confirm("beside", ORDERS)
    taken_s = time.perf_counter() - start
    cpu = of_tree_and_its_dead(worker) - cpu_before
    print(f"{(imported.count() - before) / taken_s:.0f} confirmed/s beside")
    print_what_is_left_of_the_import()
    print(f"worker: {100 * cpu / taken_s:.0f} % of a processor, {memory_mib(worker):.0f} MiB (PSS)")
    print_times({"idle": idle, "beside": beside})
    print(f"  ratio of medians {statistics.median(beside) / statistics.median(idle):.2f}")


def times_to_confirm(
    web: Web, key: str, order_body: Callable[..., Any], name: str, number: int
) -> list[float]:
    """In seconds, of so many orders, one after another."""
    bodies = [order_body(external_id=f"{name}-{index}") for index in range(number)]
    return [seconds_to_confirm(web, key, body) for body in bodies]


def begin_import(web: Web, key: str) -> None:
    file = as_csv([cells(external_id=f"imported-{index}") for index in range(ROWS)])
    start = time.perf_counter()
    post_file(web, key, file)
    accepted_s = time.perf_counter() - start
    print(f"\n{ROWS} rows ({len(file) / 2**20:.1f} MiB) accepted in {accepted_s:.1f} s")


def print_what_is_left_of_the_import() -> None:
    batch = Import.objects.get()
    assert batch.state == "running", "the import was over before it could disturb anybody"
    waiting = Job.objects.filter(queue="bulk", state="waiting").count()
    print(f"bulk jobs waiting: {waiting}, {batch.percent} % placed")


def print_times(of: dict[str, list[float]]) -> None:
    for name, times in of.items():
        print(
            f"  {name:6} median {statistics.median(times) * 1000:.0f} ms, "
            f"p95 {statistics.quantiles(times, n=20)[-1] * 1000:.0f} ms, "
            f"slowest {max(times) * 1000:.0f} ms"
        )


def memory_mib(pid: int) -> float:
    """Of a process and its children, each page that they share once."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kib = int(text.partition("\nPss:")[2].split()[0])
    return kib / 1024 + sum(map(memory_mib, children_of(pid)))


def seconds_to_confirm(web: Web, key: str, body: Any) -> float:
    """From the request to `confirmed`, as a customer who looks every few milliseconds sees it."""
    time.sleep(PAUSE_S)
    start = time.perf_counter()
    headers = {"Authorization": f"Bearer {key}", "Idempotency_Key": body["external_id"]}
    status, _, answer = web.ask("POST", "/v1/orders", body, **headers)
    assert status == 202
    order = Order.objects.filter(pk=answer["id"])
    until(order.filter(state="confirmed").exists, "it is confirmed", within_s=30, every_s=0.005)
    return time.perf_counter() - start


def post_file(web: Web, key: str, file: bytes) -> None:
    connection = HTTPConnection("127.0.0.1", web.port, timeout=60)
    headers = {
        "Authorization": f"Bearer {key}",
        "Idempotency-Key": "import-1",
        "Content-Type": "text/csv",
    }
    connection.request("POST", "/v1/imports", file, headers)
    answer = connection.getresponse()
    assert answer.status == 202, answer.read()
    connection.close()
