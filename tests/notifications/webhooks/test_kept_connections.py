"""A connection to an endpoint is kept for its next call, and every rule of a call holds for it."""

import io
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from notifications.models import Delivery, Endpoint, Event, NotDelivered
from notifications.webhooks import connection, post
from notifications.webhooks.connection import idle
from tests.promises.brokers.servers import self_signed
from tests.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
CLOSE = b"close"
DEAF = b"read, and close"


class Receiver:
    """Answers each call with the next of these bytes, and the last of them for ever; CLOSE closes
    after the answer before it, DEAF instead of one. Counts connections.
    """

    def __init__(self, *answers: bytes, tls: ssl.SSLContext | None = None) -> None:
        self.answers, self.tls = [*answers], tls
        self.calls: list[int] = []  # the connection of each
        self.connections = 0
        self.wires: list[socket.socket] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.close()

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            self.wires.append(wire)
            threading.Thread(target=self._hear, args=(wire, self.connections), daemon=True).start()

    def _hear(self, wire: socket.socket, number: int) -> None:
        try:
            wire = self.tls.wrap_socket(wire, server_side=True) if self.tls else wire
            with wire:
                while self._hear_one(wire, number):
                    pass
        except OSError:
            pass

    def _hear_one(self, wire: socket.socket, number: int) -> bool:
        heard = b""
        while not heard.endswith(b'"data":{}}'):
            if not (piece := wire.recv(65536)):
                return False
            heard += piece
        self.calls.append(number)
        answer = self._next()
        if answer == DEAF:
            return False
        wire.sendall(answer)
        if self.answers[0] == CLOSE:
            self.answers.pop(0)
            return False
        return True

    def _next(self) -> bytes:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def call(port: int, *, endpoint: int = 1, host: str = "127.0.0.1", scheme: str = "http") -> str:
    url = f"{scheme}://{host}:{port}/hooks"
    event = Event(kind="order.held", data={}, at=timezone.now())
    return post(Delivery(event=event, endpoint=Endpoint(pk=UUID(int=endpoint), url=url))).text


@pytest.fixture(autouse=True)
def local(settings: Any) -> Iterator[None]:
    settings.WEBHOOK_ALLOW_LOCAL = True
    idle.close()
    yield
    idle.close()
    connection.tls.cache_clear()


@pytest.mark.parametrize("answer", [OK, EMPTY, CHUNKED], ids=["a length", "204", "chunks"])
def test_one_connection_serves_one_call_after_another(answer: bytes) -> None:
    with Receiver(answer) as receiver:
        for _ in range(5):
            call(receiver.port)
    assert (receiver.connections, receiver.calls) == (1, [1] * 5)


def test_endpoints_share_none_and_an_other_host_or_port_has_its_own() -> None:
    with Receiver(OK) as receiver, Receiver(OK) as other:
        for endpoint in (1, 2, 1, 2):
            call(receiver.port, endpoint=endpoint)
        call(receiver.port, host="localhost")
        call(other.port)
    assert (receiver.calls, other.calls) == ([1, 2, 1, 2, 3], [1])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nand the rest drips",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 4100\r\n\r\n" + b"x" * 4096,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["no end", "a drip", "too long", "the rest is late", "close", "HTTP/1.0"],
)
def test_a_connection_is_not_kept_unless_its_answer_came_to_its_end(
    settings: Any, answer: bytes
) -> None:
    settings.WEBHOOK_BODY_WAIT_S = 0.1
    with Receiver(answer, OK) as receiver:
        assert [call(receiver.port) for _ in range(2)] == ["answered 200"] * 2
    assert receiver.calls == [1, 2]


def test_one_that_the_receiver_closed_between_two_calls_is_not_used() -> None:
    with Receiver(OK, CLOSE, OK) as receiver:
        call(receiver.port)
        [kept] = idle._kept
        until(lambda: not kept.is_quiet, "it is closed", within_s=10)
        call(receiver.port)
    assert receiver.calls == [1, 2]


def test_one_on_which_something_was_said_since_is_not_used() -> None:
    """The next call would take it for its answer."""
    with Receiver(OK) as receiver:
        call(receiver.port)
        [kept] = idle._kept
        receiver.wires[0].sendall(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
        until(lambda: not kept.is_quiet, "it was said", within_s=10)
        assert call(receiver.port) == "answered 200"
    assert receiver.calls == [1, 2]


def test_one_that_is_closed_before_anything_was_answered_is_followed_by_one_more_try() -> None:
    with Receiver(OK, DEAF, OK) as receiver:
        assert [call(receiver.port) for _ in range(2)] == ["answered 200"] * 2
    assert receiver.calls == [1, 1, 2]
    with Receiver(OK, DEAF, DEAF) as receiver:
        call(receiver.port)
        with pytest.raises(NotDelivered, match="Remote end closed connection"):
            call(receiver.port)
    assert receiver.calls == [1, 1, 2], "and by one only"
    refused = pytest.raises(NotDelivered, match="Remote end closed connection")
    with Receiver(DEAF) as receiver, refused:
        call(receiver.port)
    assert receiver.calls == [1], "a new one by none"


class Reset(io.RawIOBase):
    """So much comes, and then the connection is reset."""

    def __init__(self, comes: bytes) -> None:
        self.comes = comes

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        if not self.comes:
            raise ConnectionResetError
        into[: len(self.comes)], count, self.comes = self.comes, len(self.comes), b""
        return count


def test_once_anything_was_answered_there_is_no_other_try() -> None:
    with Receiver(OK, b"HTTP/1.1 2", CLOSE, OK) as receiver:
        call(receiver.port)
        with pytest.raises(NotDelivered):
            call(receiver.port)
    assert receiver.calls == [1, 1]
    for comes, ends_with in ((b"", ConnectionError), (b"HTTP/1.1 2", connection.BrokenOff)):
        wire: Any = SimpleNamespace(makefile=lambda _: io.BufferedReader(Reset(comes)))  # noqa: B023
        with pytest.raises(ends_with):
            connection.Connection.response_class(wire, method="POST").begin()


def test_the_deadline_is_that_of_the_call_also_on_a_kept_connection(settings: Any) -> None:
    ended: list[str] = []

    def call_in_vain() -> None:
        with pytest.raises(NotDelivered) as refused:
            call(receiver.port)
        ended.append(str(refused.value))

    settings.WEBHOOK_TIMEOUT_S = 60
    with Receiver(OK, b"") as receiver:
        call(receiver.port)
        settings.WEBHOOK_TIMEOUT_S = 0.3
        threading.Thread(target=call_in_vain, daemon=True).start()
        until(lambda: bool(ended), "it has ended", within_s=10)
    assert ended == ["took longer than 0.3 s"]
    assert receiver.calls == [1, 1], "and there is no time for another"
    assert idle._kept == []


def test_a_redirect_is_followed_by_no_connection() -> None:
    elsewhere = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    with Receiver(OK, elsewhere, OK) as receiver:
        call(receiver.port)
        with pytest.raises(NotDelivered, match="answered 302"):
            call(receiver.port)
        call(receiver.port)
    assert receiver.calls == [1, 1, 1]


def test_a_name_that_means_another_address_now_is_asked_when_the_connection_is_old(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it leads to the address that was judged, whatever the name means."""
    means = ["127.0.0.1"]

    def answer(host: str, port: int, *args: Any, **named: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (means[0], port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with Receiver(OK) as receiver:
        call(receiver.port, host="shop.example.com")
        means[0] = "10.0.0.1"
        call(receiver.port, host="shop.example.com")
        settings.WEBHOOK_CONNECTION_AGE_MAX_S = 0
        with pytest.raises(NotDelivered, match="its host has no public address"):
            call(receiver.port, host="shop.example.com")
    assert receiver.calls == [1, 1]


def test_one_that_nobody_uses_is_closed(settings: Any) -> None:
    settings.WEBHOOK_CONNECTION_IDLE_MAX_S = 0.1
    with Receiver(OK) as receiver:
        call(receiver.port)
        until(lambda: idle._kept == [], "it is closed", within_s=10)
        call(receiver.port)
    assert receiver.calls == [1, 2]


def test_few_are_kept_of_an_endpoint_and_of_all(settings: Any) -> None:
    settings.WEBHOOK_CONNECTIONS_IDLE_PER_ENDPOINT, settings.WEBHOOK_CONNECTIONS_IDLE_MAX = 1, 2
    with Receiver(OK) as receiver:
        for endpoint in (1, 2, 3):
            call(receiver.port, endpoint=endpoint)
        assert [int(UUID(one.place.endpoint)) for one in idle._kept] == [2, 3]
        [*_, last] = idle._kept
        wire = socket.create_connection(("127.0.0.1", receiver.port))
        idle.keep(connection.Connection(last.place, wire))
        assert [int(UUID(one.place.endpoint)) for one in idle._kept] == [2, 3]
        assert last.sock is None, "the one that was used longest ago"


def test_a_process_that_is_forked_has_none_of_them_and_ends_none() -> None:
    with Receiver(OK) as receiver:
        call(receiver.port)
        child = os.fork()
        if child == 0:
            os._exit(len(idle._kept))
        assert os.waitpid(child, 0)[1] == 0
        call(receiver.port)
    assert receiver.calls == [1, 1]


def test_over_tls_the_name_is_verified_and_one_handshake_serves_all_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = self_signed(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    connection.tls.cache_clear()
    with Receiver(OK, tls=server) as receiver:
        for _ in range(3):
            call(receiver.port, scheme="https")
        assert receiver.connections == 1
        with pytest.raises(NotDelivered, match="certificate"):
            call(receiver.port, host="localhost", scheme="https")
    assert receiver.calls == [1, 1, 1]
