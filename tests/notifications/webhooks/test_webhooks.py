import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.utils import timezone

from notifications.models import Delivery, Endpoint, Event, NotDelivered
from notifications.webhooks import may_connect_to, objection, post
from tests.machine.ports import free_port

PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"]
NOT_PUBLIC = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2001::1",
    "3fff::1",
    "168.63.129.16",
    "192.88.99.1",
    "::ffff:168.63.129.16",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(settings: Any, address: str) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = False
    assert may_connect_to(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_inside_or_nowhere_are_not(settings: Any, address: str) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = False
    assert not may_connect_to(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/hooks",
        "ftp://shop.example/",
        "https://",
        "https:///x",
        "//shop.example",
        "shop.example",
        "https://user:secret@shop.example/",
        "https://shop.example/#here",
        "https://shop.example:99999/",
        "https://shop.example:0/",
        "https://127.0.0.1/",
        "https://localhost/a",
        "https://[::1]/",
        "https://169.254.169.254/latest",
        "https://[x/",
    ],
)
def test_in_production_an_endpoint_is_a_full_public_https_url(settings: Any, url: str) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = False
    assert objection(url)
    assert objection("https://shop.example/hooks?x=1") is None


@pytest.mark.parametrize(
    "host",
    [
        "x..y",
        "...",
        "a" * 64 + ".com",
        "-",
        "a b",
        "2130706433",
        "shop.123",
        "ｌocalhost",
        "鮨.example",
        "x.com\r\nX: y",
        ".",
    ],
)
def test_a_host_that_could_never_be_called_is_no_endpoint(settings: Any, host: str) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = True
    assert objection(f"http://{host}/")
    assert objection("https://xn--w9j.example/") is None


def test_in_development_plain_http_on_loopback_will_do(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = True
    assert objection("http://127.0.0.1:9000/hooks") is None
    assert objection("http://10.0.0.1/") is not None


# --- time -----------------------------------------------------------------------------------------

LIMIT_S = 0.4
DROPS = 40  # each in time, all together ten times the limit


@contextmanager
def dripping(first: bytes, drop: bytes) -> Iterator[tuple[int, list[str]]]:
    """A server that answers with this, and then goes on with drops until it is cut; its port, and
    how it ended.
    """
    ended: list[str] = []

    def drip() -> None:
        wire, _ = server.accept()
        with wire:
            wire.recv(65536)
            try:
                wire.sendall(first)
                for _ in range(DROPS):
                    time.sleep(LIMIT_S / 4)
                    wire.sendall(drop)
                ended.append("to the end")
            except OSError:
                ended.append("cut")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip)
        thread.start()
        yield server.getsockname()[1], ended
        thread.join(timeout=10)


def delivery_to(url: str) -> Delivery:
    return Delivery(
        event=Event(kind="order.held", data={}, at=timezone.now()), endpoint=Endpoint(url=url)
    )


@pytest.mark.parametrize(
    ("scheme", "first", "drop"),
    [
        ("http", b"HTTP/1.1 200 OK\r\n", b"X-Header: 1\r\n"),
        ("http", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ("http", b"", b"H"),
        ("https", b"\x16\x03\x03\x40\x00", b"\x00"),  # a handshake of 16 kB, byte by byte
    ],
    ids=["headers", "interim answers", "the first line", "a handshake"],
)
def test_a_call_whose_answer_drips_is_cut_when_its_time_is_over(
    settings: Any, scheme: str, first: bytes, drop: bytes
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL, settings.WEBHOOK_TIMEOUT_S = True, LIMIT_S
    late = pytest.raises(NotDelivered, match=r"took longer than 0\.4 s")
    with dripping(first, drop) as (port, ended), late:
        post(delivery_to(f"{scheme}://127.0.0.1:{port}/"))
    assert ended == ["cut"], "the call has ended before the drops have"


@pytest.mark.parametrize(
    ("head", "begins"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"taken"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\ntaken\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"x" * 100_000),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"taken"),
    ],
    ids=["a drip", "chunks", "a gigabyte", "a bomb"],
)
def test_a_body_without_an_end_is_cut_after_its_beginning_and_the_status_counts(
    settings: Any, head: bytes, begins: bytes
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL, settings.WEBHOOK_BODY_WAIT_S = True, LIMIT_S
    with dripping(head + begins, b"1\r\n.\r\n") as (port, ended):
        answer = post(delivery_to(f"http://127.0.0.1:{port}/"))
    assert (answer.text, ended) == ("answered 200", ["cut"])
    assert answer.body
    assert answer.body.startswith("taken") or answer.body == "x" * 4096


def test_a_body_is_waited_for_no_longer_than_the_call_has_time(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOCAL, settings.WEBHOOK_TIMEOUT_S = True, LIMIT_S
    settings.WEBHOOK_BODY_WAIT_S = 1000 * LIMIT_S
    refusal = pytest.raises(NotDelivered, match="answered 503")
    with dripping(b"HTTP/1.1 503 No\r\n\r\nlater", b".") as (port, ended), refusal as refused:
        post(delivery_to(f"http://127.0.0.1:{port}/"))
    assert ended == ["cut"]
    assert (refused.value.answer.body or "").startswith("later.")


def test_a_name_that_is_looked_up_for_too_long_ends_the_call(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL, settings.WEBHOOK_TIMEOUT_S = True, 0.2
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **named: over.wait(timeout=30) and [])
    try:
        with pytest.raises(NotDelivered, match=r"took longer than 0\.2 s"):
            post(delivery_to("http://slow.example/"))
    finally:
        over.set()


# --- what is told of it ---------------------------------------------------------------------------


@pytest.mark.parametrize("address", [None, "10.1.2.3", "127.0.0.1", "168.63.129.16"])
def test_what_a_name_inside_resolves_to_is_told_to_nobody(
    settings: Any, monkeypatch: pytest.MonkeyPatch, address: str | None
) -> None:
    """Nor whether it does: else an endpoint would be a telescope."""
    settings.WEBHOOK_ALLOW_LOCAL = False

    def answer(*args: Any, **named: Any) -> Any:
        if address is None:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(NotDelivered) as refused:
        post(delivery_to("https://database.internal.example/"))
    assert str(refused.value) == "its host has no public address"


def test_a_broken_call_is_told_without_the_address(settings: Any) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = True
    with pytest.raises(NotDelivered) as refused:
        post(delivery_to(f"http://127.0.0.1:{free_port()}/"))
    assert str(refused.value) == "ConnectionRefusedError: Connection refused"
    with (
        dripping(b"not http at all\r\n\r\n", b"") as (port, _),
        pytest.raises(NotDelivered) as refused,
    ):
        post(delivery_to(f"http://127.0.0.1:{port}/"))
    assert "127.0.0.1" not in str(refused.value)
