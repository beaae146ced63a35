"""What gunicorn refuses before Django sees it is a problem like every other refusal of the API."""

import json
import socket

import pytest

from tests.promises.processes import Stack, Web

pytestmark = pytest.mark.django_db(transaction=True)
HOST = b"Host: x\r\n"
REFUSED: list[tuple[str, bytes, int, str]] = [
    (
        "a long address",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        414,
        "uri-too-long",
    ),
    (
        "a long header",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 9000 + b"\r\n\r\n",
        431,
        "headers-too-large",
    ),
    (
        "many headers",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: x\r\n" * 200 + b"\r\n",
        431,
        "headers-too-large",
    ),
    (
        "a control byte in a header",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
        400,
        "malformed-request",
    ),
    (
        "a wrong name of a header",
        b"GET / HTTP/1.1\r\n" + HOST + b"X y: z\r\n\r\n",
        400,
        "malformed-request",
    ),
    (
        "no number as the length",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: ten\r\n\r\n",
        400,
        "malformed-request",
    ),
    (
        "two lengths",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n" * 2 + b"\r\nx",
        400,
        "malformed-request",
    ),
    (
        "raw UTF-8",
        "GET /v1/stock/鮭 HTTP/1.1\r\n".encode() + HOST + b"\r\n",
        400,
        "malformed-request",
    ),
    ("no address", b"GET HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    ("another protocol", b"HELO shop\r\n\r\n", 400, "malformed-request"),
    ("another version", b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 400, "malformed-request"),
    (
        "an unknown coding",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: rot13\r\n\r\n",
        501,
        "transfer-coding-unsupported",
    ),
    (
        "an unknown wish",
        b"POST / HTTP/1.1\r\n" + HOST + b"Expect: tea\r\n\r\n",
        417,
        "expectation-failed",
    ),
]
CHUNKED = b"POST /v1/orders HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def answer(web: Web, request: bytes) -> tuple[list[bytes], bytes]:
    """All that comes back until the connection ends: the lines of the head, and the rest."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=15) as client:
        client.sendall(request)
        came = b""
        while more := client.recv(65_536):
            came += more
    head, _, body = came.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def test_each_is_a_problem_with_a_page_and_an_id_that_the_log_knows(stack: Stack) -> None:
    web = stack.start_web()
    for what, request, status, slug in REFUSED:
        (first, *headers), body = answer(web, request)
        assert first.startswith(f"HTTP/1.1 {status} ".encode()), (what, first)
        assert b"Content-Type: application/problem+json" in headers, what
        problem = json.loads(body)
        assert list(problem) == ["type", "title", "status", "detail", "errors", "request_id"], what
        assert (problem["type"], problem["status"]) == (f"/problems/{slug}", status), (
            what,
            problem,
        )
        assert problem["detail"], what
        assert f"X-Request-ID: {problem['request_id']}".encode() in headers, what
        assert f"request_id={problem['request_id']}" in web.tree.output(), what
    (first, *_), body = answer(web, CHUNKED + b"no number\r\n")
    assert first.startswith(b"HTTP/1.1 411 ")
    assert b'"/problems/length-required"' in body
    assert b"HTTP/1.1" not in body  # one answer to one request
    assert web.lives()
    assert "Traceback" not in web.tree.output()
