"""An import is there as a whole or not at all, and each of its orders comes once, whoever is killed
meanwhile.
"""

import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection, HTTPException
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.db.models import Count, F, Sum

from celery_ledger.models import Job, Worker
from notifications.models import Event
from orders.imports.models import Import, ImportFault
from orders.imports.rows import ImportRow
from orders.models import ApiKey, Client, IdempotencyKey, Order, OrderLine, Stock
from orders.payments.sandbox_book import SandboxCharge
from tests.orders.imports.files import as_csv, cells
from tests.promises.processes import Stack, Tree, Web
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
ORDERS, KILLS = 2000, 3
TASK = "orders.imports.tasks.place_chunk"


def post(web: Web, key: str, file: bytes, *, name: str = "import-1") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", web.port, timeout=60)
    headers = {
        "Authorization": f"Bearer {key}",
        "Idempotency-Key": name,
        "Content-Type": "text/csv",
    }
    try:
        connection.request("POST", "/v1/imports", file, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["Location"]
    finally:
        connection.close()


@pytest.mark.soak
def test_workers_killed_in_the_middle_of_an_import_lose_nothing_and_double_nothing(
    stack: Stack, shop: Client, stock: Any
) -> None:
    """Each order has two lines, far from each other; three of four have a wrong total, which saves
    their later jobs.
    """
    stock(on_hand=10 * ORDERS)
    bad = {f"o-{index}" for index in range(ORDERS) if index % 4}
    rows = [
        cells(external_id=f"o-{index}", total="1" if f"o-{index}" in bad else "1320")
        for index in range(ORDERS)
    ]
    key = ApiKey.objects.issue(shop, [])
    web = stack.start_web()
    status, location = post(web, key, as_csv(rows + rows))
    assert status == 202
    kill_workers_while_they_place(stack)
    stack.start("worker")
    until(lambda: Import.objects.get().state == "done", "the import is done", within_s=400)
    assert Job.objects.filter(task=TASK, losses__gt=0).exists(), "no kill hit a chunk"
    progress = web.ask("GET", location, Authorization=f"Bearer {key}")[2]
    assert progress["total"] == ORDERS
    assert (progress["ok"], progress["failed"]) == (ORDERS - len(bad), len(bad))
    assert_each_order_came_once({row["external_id"] for row in rows} - bad)
    assert sorted(ImportFault.objects.values_list("external_id", flat=True)) == sorted(bad)
    assert ImportRow.objects.count() == 0
    assert_books_balance()


def kill_workers_while_they_place(stack: Stack) -> None:
    for _ in range(KILLS):
        before = worked_off()
        worker = stack.start("worker")
        until(partial(has_gone_on, since=before), "the import goes on", within_s=120)
        catch_placing(worker)
        worker.kill()


def assert_each_order_came_once(good: set[str]) -> None:
    """With both of its lines, its event and its first job."""
    assert set(Order.objects.values_list("external_id", flat=True)) == good
    assert Order.objects.annotate(n=Count("lines")).exclude(n=2).count() == 0
    assert Event.objects.filter(kind="order.received").count() == len(good)
    assert Job.objects.filter(task="orders.tasks.reserve").count() == len(good)


def worked_off() -> int:
    counts = Import.objects.aggregate(n=Sum(F("ok") + F("failed")))
    return int(counts["n"])


def has_gone_on(*, since: int) -> bool:
    return worked_off() > since


def catch_placing(tree: Tree) -> UUID:
    """Stop the tree while it holds a chunk."""
    chunks = Job.objects.filter(state="running", task=TASK)
    held = chunks.filter(worker__in=Worker.objects.filter(pid=tree.process.pid).values("pk"))
    for _ in range(200):
        until(held.exists, "a chunk is worked off", within_s=120)
        tree.signal(signal.SIGSTOP)
        if job := held.first():
            return job.pk
        tree.signal(signal.SIGCONT)
    raise AssertionError("the worker was never caught with a chunk")


def assert_books_balance() -> None:
    paid = Order.objects.filter(state="confirmed")
    assert not Order.objects.exclude(state__in=("received", "reserved", "confirmed")).exists()
    assert not paid.exclude(captured=F("total")).exists()
    assert SandboxCharge.objects.count() >= paid.count() > 0
    assert (
        SandboxCharge.objects.values("metadata__order").annotate(n=Count("pk")).exclude(n=1).count()
        == 0
    )
    stock = Stock.objects.annotate(book=Sum("movements__reserved_delta"))
    reserved, book = stock.values_list("reserved", "book").get()
    promised = OrderLine.objects.filter(order__movements__kind="reserved").aggregate(
        n=Sum("quantity")
    )["n"]
    assert reserved == book == promised


# --- the web dyno ---------------------------------------------------------------------------------


def nothing_is_there() -> bool:
    rows = [model.objects.count() for model in (Import, ImportRow, Job, IdempotencyKey)]
    return rows == [0] * 4


@pytest.mark.soak
def test_a_web_dyno_killed_while_it_takes_a_file_in_has_taken_nothing(
    stack: Stack, shop: Client, stock: Any
) -> None:
    key = ApiKey.objects.issue(shop, [])
    file = as_csv([cells(external_id=f"o-{index}") for index in range(60_000)])
    web = stack.start_web()

    def send() -> None:
        with pytest.raises((OSError, HTTPException)):
            post(web, key, file)

    sender = threading.Thread(target=send)
    sender.start()
    until(taking_in, "the file is taken in", within_s=60)
    web.tree.kill()
    sender.join(timeout=30)
    until(lambda: not taking_in(), "Postgres has noticed", within_s=30)
    assert nothing_is_there()
    assert post(stack.start_web(), key, file)[0] == 202
    assert ImportRow.objects.count() == 60_000


def taking_in() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE 'COPY orders_importrow%' AND state <> 'idle'"
        )
        return bool(cursor.fetchone()[0])


def test_a_sender_who_breaks_off_has_sent_nothing(stack: Stack, shop: Client) -> None:
    web = stack.start_web()
    key = ApiKey.objects.issue(shop, [])
    file = as_csv([cells(external_id=f"o-{index}") for index in range(100)])
    head = (
        f"POST /v1/imports HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        "Idempotency-Key: k\r\n"
        f"Content-Type: text/csv\r\nContent-Length: {len(file)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as sender:
        sender.sendall(head.encode() + file[: file.rindex(b"\n", 0, -1) + 1])
        sender.shutdown(socket.SHUT_WR)
        answer = sender.recv(10_000)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408"))
    assert nothing_is_there()


def test_a_file_over_the_limit_is_refused_before_it_is_sent(stack: Stack, shop: Client) -> None:
    web = stack.start_web()
    key = ApiKey.objects.issue(shop, [])
    head = (
        f"POST /v1/imports HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        "Idempotency-Key: k\r\n"
        f"Content-Type: text/csv\r\nContent-Length: {20 * 1024 * 1024 + 1}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as sender:
        sender.sendall(head.encode())
        assert sender.recv(10_000).startswith(b"HTTP/1.1 413")
    assert nothing_is_there()


@pytest.mark.soak
def test_two_imports_of_one_file_at_the_same_moment_place_each_order_once(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock(on_hand=1000)
    web = stack.start_web()
    key = ApiKey.objects.issue(shop, [])
    file = as_csv([cells(external_id=f"o-{index}") for index in range(60)])
    for name in ("a", "b"):
        assert post(web, key, file, name=name)[0] == 202
    stack.start("worker", "--concurrency", "4")
    until(
        lambda: not Import.objects.filter(finished_at=None).exists(), "both are done", within_s=120
    )
    assert list(Import.objects.values_list("ok", "failed")) == [(60, 0), (60, 0)]
    assert Order.objects.count() == Event.objects.filter(kind="order.received").count() == 60
