"""Clients that are slow, silent or gone do not hold the web dyno: while they are there, the others
are answered.
"""

import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from orders.inputs.order import OrderInput
from orders.models import ApiKey, Client, Order
from orders.tasks import place
from tests.promises.processes import Stack, Web, children_of
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
CLIENTS = 6 * settings.WEB_THREADS
DRIP_S = 0.5
KERNEL_BYTES = 3_000_000  # what Linux takes in for a client on loopback that reads nothing
HALF_A_HEADER = "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "
HALF_A_BODY = (
    "POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    "Content-Length: 100000\r\n\r\n{{"
)
HALF_AN_IMPORT = (
    "POST /v1/imports HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 1000000\r\n"
    "\r\nx"
)
NEVER_CLOSES = "GET /livez HTTP/1.0\r\nHost: x\r\n\r\n"
WITHOUT_LENGTH = "POST /v1/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def connected(web: Web) -> socket.socket:
    """A client that has little room for what it does not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(5)
    client.connect(("127.0.0.1", web.port))
    client.setblocking(False)
    return client


@contextmanager
def slow_clients(web: Web, begins: str, *, drip: bytes = b"x") -> Iterator[list[socket.socket]]:
    """Each sends this and then a byte now and then, and reads nothing."""
    over = threading.Event()
    with ExitStack() as held:
        clients = [held.enter_context(connected(web)) for _ in range(CLIENTS)]

        def go_on() -> None:
            while not over.wait(DRIP_S):
                for client in clients:
                    with suppress(OSError):  # it may have been shown the door
                        client.send(drip)

        for client in clients:
            client.send(begins.encode())
        dripping = threading.Thread(target=go_on)
        dripping.start()
        try:
            yield clients
        finally:
            over.set()
            dripping.join()


def is_open(client: socket.socket) -> bool:
    """Whether the server has not ended it. What it has sent stays where it is."""
    try:
        return client.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def is_gone(client: socket.socket) -> bool:
    """Whether the server has ended it, though what it has sent was never read."""
    with suppress(BlockingIOError):
        try:
            client.send(b"x")
        except OSError:
            return True
    return False


@pytest.mark.parametrize(
    "begins",
    [
        pytest.param(HALF_A_HEADER, id="half a header", marks=pytest.mark.soak),
        pytest.param(HALF_A_BODY, id="half a body"),
        pytest.param(HALF_AN_IMPORT, id="half an import", marks=pytest.mark.soak),
        pytest.param(NEVER_CLOSES, id="never closes", marks=pytest.mark.soak),
        pytest.param(WITHOUT_LENGTH, id="without length", marks=pytest.mark.soak),
        pytest.param("", id="silent"),
    ],
)
def test_the_others_are_answered_while_they_are_there(
    stack: Stack, shop: Client, begins: str
) -> None:
    web = stack.start_web()
    with slow_clients(
        web, begins.format(key=ApiKey.objects.issue(shop, [])), drip=b"x" if begins else b""
    ) as slow:
        for _ in range(20):
            assert web.ask("GET", "/livez")[0] == 200
        if begins not in (NEVER_CLOSES, WITHOUT_LENGTH):
            assert sum(map(is_open, slow)) == CLIENTS, "they were there all the time"
    assert "Traceback" not in web.tree.output()


@pytest.mark.soak
def test_a_request_that_does_not_arrive_in_time_is_told_so(stack: Stack) -> None:
    web = stack.start_web()
    with slow_clients(web, HALF_A_HEADER) as slow:
        until(
            lambda: all(received(client).startswith(b"HTTP/1.1 408 ") for client in slow),
            "each is a 408",
            within_s=30,
        )
        assert b"/problems/request-timeout" in received(slow[0])
    assert web.lives()


def received(client: socket.socket) -> bytes:
    try:
        return client.recv(65_536, socket.MSG_PEEK)
    except OSError:
        return b""


@pytest.mark.soak
def test_a_body_that_arrives_at_a_walking_pace_is_taken(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    """In more pieces than there is patience for a head, if each came alone."""
    stock()
    web, key = stack.start_web(), ApiKey.objects.issue(shop, [])
    body = OrderInput.model_validate(order_body()).model_dump_json().encode()
    head = (
        f"POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        "Idempotency-Key: k\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", web.port), timeout=15) as client:
        for piece in (head[:10], head[10:-1], head[-1:]):
            client.sendall(piece)
            time.sleep(0.2)
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for index in range(0, len(body), 50):
            client.sendall(body[index : index + 50])
            time.sleep(0.1)
        answer = client.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 202 ")
        # two at once
        client.sendall(
            b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        while answer.count(b'{"status": "ok"}') < 2:
            answer += client.recv(65_536)
    assert Order.objects.count() == 1


@pytest.mark.soak
def test_who_reads_a_large_answer_slowly_holds_nobody_up(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    """More of it than the kernel takes in, and together more than may wait in memory: the slowest
    lose theirs.
    """
    stock()
    notes = {f"note {index}": "鮭" * 500 for index in range(50)}
    for index in range(100):
        with transaction.atomic():
            place(
                shop,
                OrderInput.model_validate(order_body(external_id=f"o-{index}", metadata=notes)),
            )
    web, key = stack.start_web(), ApiKey.objects.issue(shop, [])
    asks = f"GET /v1/orders?limit=100 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    with slow_clients(web, asks, drip=b"") as slow:
        for _ in range(10):
            assert web.ask("GET", "/livez")[0] == 200
        status, _, page = web.ask("GET", "/v1/orders?limit=100", Authorization=f"Bearer {key}")
        assert (status, len(page["data"])) == (200, 100)
        size = len(json.dumps(page, ensure_ascii=False).encode())
        assert size > 2 * KERNEL_BYTES
        assert size * CLIENTS > 2 * settings.WEB_UNSENT_MAX_BYTES
        until(
            lambda: sum(map(is_gone, slow)) > CLIENTS // 2,
            "there was no room for all of them",
            within_s=15,
        )
        until(lambda: all(map(is_gone, slow)), "nobody is waited for for ever", within_s=60)
    assert "Traceback" not in web.tree.output()


def test_with_too_many_connections_the_one_that_is_idle_for_longest_goes(stack: Stack) -> None:
    web = stack.start_web()
    with ExitStack() as held:
        idle = [held.enter_context(connected(web)) for _ in range(settings.WEB_CONNECTIONS + 20)]
        assert web.ask("GET", "/livez")[0] == 200
        assert not is_open(idle[0])
        assert is_open(idle[-1])


def test_with_too_few_files_the_one_that_is_idle_for_longest_goes(stack: Stack) -> None:
    web = stack.start_web()
    assert web.ask("GET", "/livez")[0] == 200
    files, workers = 100, children_of(web.tree.process.pid)
    for worker in workers:
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (files, files))
    with ExitStack() as held:
        idle = [held.enter_context(connected(web)) for _ in range(files)]
        assert web.ask("GET", "/livez")[0] == 200
        assert not is_open(idle[0])
        assert children_of(web.tree.process.pid) == workers, "none of them had to be started anew"


@pytest.mark.soak
def test_bodies_that_fill_all_the_room_leave_it_to_those_that_need_little(stack: Stack) -> None:
    """Each is complete but for its last byte, and none of them has a key."""
    web = stack.start_web()
    imports = settings.WEB_ARRIVING_MAX_BYTES // settings.BODY_MAX_BYTES_OF["/v1/imports"]
    sizes = [settings.BODY_MAX_BYTES_OF["/v1/imports"]] * imports
    sizes += [size for size in (1_000_000, 100_000, 10_000, 1_000, 100, 10) for _ in range(40)]
    with ExitStack() as held:
        for size in sizes:
            client = held.enter_context(
                socket.create_connection(("127.0.0.1", web.port), timeout=10)
            )
            path = "/v1/imports" if size > settings.BODY_MAX_BYTES else "/v1/orders"
            client.sendall(
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
            )
            with suppress(OSError):  # there was no room for it
                client.sendall(b"x" * (size - 1))
        for _ in range(20):
            assert web.ask("GET", "/livez")[0] == 200


@pytest.mark.soak
def test_a_body_that_stops_is_not_waited_for_as_long_as_it_might_have_taken(stack: Stack) -> None:
    web = stack.start_web()
    size = settings.BODY_MAX_BYTES_OF["/v1/imports"]
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as client:
        client.sendall(
            f"POST /v1/imports HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
        )
        client.sendall(b"x" * (size - 1))
        assert client.recv(65_536).startswith(b"HTTP/1.1 408 ")


def test_connections_that_linger_make_room_first(stack: Stack) -> None:
    """They have been refused, and have not yet gone."""
    web = stack.start_web()
    with ExitStack() as held:
        idle = held.enter_context(connected(web))
        for _ in range(settings.WEB_CONNECTIONS + 20):
            held.enter_context(connected(web)).send(b"GET /x\r\n\r\n")
        assert web.ask("GET", "/livez")[0] == 200
        assert is_open(idle)
