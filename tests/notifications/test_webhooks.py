import ipaddress
import socket
import threading
import time
from typing import Any

import pytest
from django.utils import timezone

from notifications.models import Delivery, Endpoint, Event, NotDelivered
from notifications.webhooks import may_connect_to, objection, post

PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"]
NOT_PUBLIC = [
    "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::127.0.0.1", "64:ff9b::7f00:1", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1", "2002:7f00:1::1",
    "2001::1", "3fff::1",
]  # fmt: skip


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
        "http://shop.example/hooks", "ftp://shop.example/", "https://", "https:///x", "//shop.example", "shop.example",
        "https://user:secret@shop.example/", "https://shop.example/#here", "https://shop.example:99999/",
        "https://shop.example:0/", "https://127.0.0.1/",
        "https://localhost/a", "https://[::1]/", "https://169.254.169.254/latest", "https://[x/",
    ],
)  # fmt: skip
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


@pytest.mark.django_db
@pytest.mark.parametrize("drop", [b"X-Header: 1\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_answer_that_drips_beyond_its_time_is_none(settings: Any, drop: bytes) -> None:
    """Each drop comes in time, so no read times out; and a healthy endpoint may hold as many workers as there are."""
    settings.WEBHOOK_ALLOW_LOCAL, settings.WEBHOOK_TIMEOUT_S = True, 0.4
    event = Event(kind="order.held", data={}, at=timezone.now())

    def drip() -> None:
        wire, _ = server.accept()
        with wire:
            wire.recv(65536)
            wire.sendall(b"HTTP/1.1 200 OK\r\n" if drop.startswith(b"X") else drop)
            for _ in range(4):
                time.sleep(0.2)
                wire.sendall(drop)
            wire.sendall(b"\r\n" if drop.startswith(b"X") else b"HTTP/1.1 200 OK\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(NotDelivered, match=r"took longer than 0\.4 s"):
            post(Delivery(event=event, endpoint=Endpoint(url=url)))
        thread.join(timeout=5)
