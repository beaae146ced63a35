"""However a client cuts what it sends into pieces, the answers are the same, and no body becomes a
request.
"""

import itertools
import random
import re
import socket
import time

import pytest

from orders.models import ApiKey, Client
from tests.promises.processes import Stack, Web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
HEAD = b"Host: x\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
BOTH = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /livez?smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
LENGTH = f"Content-Length: {len(SMUGGLED)}\r\n".encode()
DIGITS = b"9" * 5_000  # more than Python makes an int of
KEEPS: list[tuple[str, bytes]] = [  # the connection goes on after these
    ("a page", b"GET /livez HTTP/1.1\r\n" + HEAD + b"\r\n"),
    ("a head", b"HEAD /livez HTTP/1.1\r\n" + HEAD + b"\r\n"),
    ("nothing there", b"GET /v1/nothing HTTP/1.1\r\n" + HEAD + b"\r\n"),
    ("a body that nobody reads", b"POST /livez HTTP/1.1\r\n" + HEAD + LENGTH + b"\r\n" + SMUGGLED),
    ("an empty body", b"POST /v1/orders HTTP/1.1\r\n" + HEAD + b"Content-Length: 0\r\n\r\n"),
    (
        "without a key",
        b"POST /v1/orders HTTP/1.1\r\n" + HEAD + b'Content-Length: 9\r\n\r\n{"a": 17}',
    ),
    ("a form", b"POST / HTTP/1.1\r\n" + HEAD + FORM + b"Content-Length: 3\r\n\r\na=1"),
    (
        "a large body",
        b"POST /v1/orders HTTP/1.1\r\n" + HEAD + b"Content-Length: 200000\r\n\r\n" + b" " * 200_000,
    ),
]
ENDS: list[tuple[str, bytes]] = [  # it ends with the answer
    ("said so", b"GET /livez HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n"),
    ("an old one", b"GET /livez HTTP/1.0\r\n\r\n"),
    (
        "too large",
        b"POST /v1/orders HTTP/1.1\r\n" + HEAD + b"Content-Length: 3000000\r\n\r\n" + SMUGGLED,
    ),
    (
        "chunked",
        b"POST /v1/orders HTTP/1.1\r\n"
        + HEAD
        + b"Transfer-Encoding: chunked\r\n\r\n2a\r\n"
        + SMUGGLED,
    ),
    ("a length and chunks", b"POST / HTTP/1.1\r\n" + HEAD + BOTH + SMUGGLED),
    (
        "two lengths",
        b"POST / HTTP/1.1\r\n"
        + HEAD
        + b"Content-Length: 1\r\nContent-Length: 0\r\n\r\n"
        + SMUGGLED,
    ),
    (
        "a list of lengths",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 0, 0\r\n\r\n" + SMUGGLED,
    ),
    (
        "a length with a sign",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    ),
    (
        "a length before a space",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length : 0\r\n\r\n" + SMUGGLED,
    ),
    (
        "a length on two lines",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length:\r\n 0\r\n\r\n" + SMUGGLED,
    ),
    (
        "a huge length",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n" + SMUGGLED,
    ),
    (
        "more than a number",
        b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: " + DIGITS + b"\r\n\r\n" + SMUGGLED,
    ),
    ("no HTTP", b"HELO shop\r\n\r\n" + SMUGGLED),
]
CASES = 60


def answers(web: Web, pieces: list[bytes], *, pause_s: float) -> list[int]:
    """The statuses of all that comes back until the connection ends."""
    came = b""
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                client.sendall(piece)
                if pause_s:
                    time.sleep(pause_s)
            while more := client.recv(65_536):
                came += more
        except (ConnectionResetError, BrokenPipeError):
            pass  # it was told enough
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", came)]


def cut(text: bytes, dice: random.Random) -> list[bytes]:
    """Into a few pieces, most of them within the first kilobyte, where the heads are."""
    cuts = sorted(
        {dice.randrange(1, min(len(text), 1_000)) for _ in range(dice.randint(2, 12))}
        | {len(text) // 2}
    )
    return [text[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(text)])]


def test_pieces_change_nothing_and_no_body_becomes_a_request(stack: Stack) -> None:
    web, dice = stack.start_web(), random.Random(20261128)
    for number in range(CASES):
        chosen = [*dice.choices(KEEPS, k=dice.randint(0, 3)), dice.choice(ENDS)]
        text = b"".join(request for _, request in chosen)
        names = [name for name, _ in chosen]
        whole = answers(web, [text], pause_s=0)
        assert len(whole) == len(chosen), (number, names, whole)
        assert answers(web, cut(text, dice), pause_s=0.002) == whole, (number, names)
    assert "smuggled" not in web.tree.output()
    assert "Traceback" not in web.tree.output()
    assert "dropping per RFC" not in web.tree.output()
    assert web.lives()


@pytest.mark.soak
def test_two_orders_in_one_piece_are_two_answers_in_their_order(stack: Stack, shop: Client) -> None:
    web, key = stack.start_web(), ApiKey.objects.issue(shop, [])
    asks = f"GET /v1/stock HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    wrong = b"GET /v1/stock HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /v1/stock HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert answers(web, [asks + wrong + asks + last], pause_s=0) == [200, 401, 200, 401]
