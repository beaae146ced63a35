"""Requests that nobody sends in good faith: each is refused or answered, none is a 500, and none
costs anything.
"""

import io
import logging
from collections.abc import Callable
from typing import Any, NoReturn
from unittest.mock import Mock

import pytest
from django.conf import settings as configured
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.test import Client as HttpClient

from config.web import error_pages
from config.wsgi import application
from orders.models import ApiKey, Client, Order
from tests.shop import Api

pytestmark = pytest.mark.django_db
URLENCODED = "application/x-www-form-urlencoded"
FILE = (
    b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
    + b"x" * 1000
    + b"\r\n--x--\r\n"
)
NUL_COOKIE = {"HTTP_COOKIE": 'sessionid="\\000abcdefghijkl"'}

REQUESTS: list[tuple[str, str, bytes, str, dict[str, str], int]] = [
    ("GET", "/", b"", "", NUL_COOKIE, 400),
    ("GET", "/admin/", b"", "", NUL_COOKIE, 400),
    ("GET", "/admin/", b"", "", {"HTTP_COOKIE": "sessionid=" + "a" * 4000}, 302),
    ("GET", "/", b"", "", {"HTTP_COOKIE": "django_language=" + "a" * 4000}, 200),
    ("GET", "/", b"", "", {"HTTP_COOKIE": 'csrftoken="\\377\\200"'}, 200),
    ("GET", "/", b"", "", {"HTTP_ACCEPT_LANGUAGE": "a" * 4000}, 200),
    ("GET", "/", b"", "", {"HTTP_ACCEPT_LANGUAGE": "a-" * 2000}, 200),
    ("GET", "/%00", b"", "", {}, 400),
    ("GET", "/o/" + "a" * 4000 + "/", b"", "", {}, 404),
    ("GET", "/%ff%fe", b"", "", {}, 404),
    ("POST", "/unknown", b"x", "multipart/form-data", {}, 404),
    ("POST", "/v1/unknown", b"x", "multipart/form-data", {}, 404),
    ("POST", "/v1/orders", b"x", "multipart/form-data", {}, 401),
    ("POST", "/", b"x", "multipart/form-data", {}, 400),
    ("POST", "/", FILE, "multipart/form-data; boundary=x", {}, 400),
    ("POST", "/admin/login/", FILE, "multipart/form-data; boundary=x", {}, 400),
    ("POST", "/i18n/setlang/", FILE, "multipart/form-data; boundary=x", {}, 400),
    ("POST", "/i18n/setlang/", b"language=%00&next=%00", URLENCODED, {}, 403),
    ("POST", "/", b"a=1&" * 2000, URLENCODED, {}, 400),
    ("POST", "/unknown", b"a=1&" * 2000, URLENCODED, {}, 404),
    ("POST", "/", b"a=1", f"{URLENCODED}; charset=utf-16", {}, 415),
    ("POST", "/", b"a=1", f"{URLENCODED}; charset=" + "x" * 4000, {}, 415),
]


def sent(method: str, path: str, body: bytes, content_type: str, headers: dict[str, Any]) -> Any:
    browser = HttpClient(enforce_csrf_checks=True, raise_request_exception=False)
    if method == "POST":
        browser.get("/")  # or for the lack of a cookie nothing more would be looked at
    return browser.generic(method, path, body, content_type=content_type, **headers)


@pytest.mark.parametrize(("method", "path", "body", "content_type", "headers", "status"), REQUESTS)
def test_it_is_answered_and_never_with_a_500(
    method: str, path: str, body: bytes, content_type: str, headers: dict[str, str], status: int
) -> None:
    assert sent(method, path, body, content_type, headers).status_code == status


def test_a_form_without_csrf_token_but_with_a_file_is_refused_before_the_file_is_kept() -> None:
    browser = HttpClient()  # checks no token, so the form's own view would see the file
    answer = browser.post("/", {"email": "a@example.com", "file": io.BytesIO(b"x" * 1000)})
    assert answer.status_code == 400


class Unread(io.BytesIO):
    """A body that must not be looked at."""

    def read(self, *args: Any) -> NoReturn:
        raise AssertionError("the body was read")

    readline = readlines = read


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/orders", "/v1/imports", "/admin/login/", "/unknown", "/v1/payments/stripe/events"],
)
def test_a_body_over_the_limit_is_413_everywhere_and_is_not_read(path: str) -> None:
    limit = configured.BODY_MAX_BYTES_OF.get(path, configured.BODY_MAX_BYTES)
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.input": Unread(),
        "wsgi.url_scheme": "http",
        "CONTENT_TYPE": "text/csv",
        "CONTENT_LENGTH": str(limit + 1),
    }
    start_response = Mock()
    body = b"".join(application(environ, start_response))
    assert [call.args[0][:4] for call in start_response.call_args_list] == ["413 "]
    assert f"The body may have {limit} bytes.".encode() in body


@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("POST", "/v1/orders", "application/json"),
        ("PUT", "/v1/stock/A", "application/json"),
        ("POST", "/v1/imports", "text/csv"),
        ("POST", "/v1/webhook-endpoints", "application/json"),
    ],
)
@pytest.mark.parametrize(("key", "status"), [("kaiten_nobody", 401), ("scopeless", 403)])
def test_the_key_is_asked_before_the_body(
    shop: Client,
    method: str,
    path: str,
    content_type: str,
    key: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also a body that is broken: whoever may not send it is not told what is wrong with it."""
    reads: list[Any] = []

    def body(request: Any) -> bytes:
        reads.append(request)
        return b"{"

    def read(request: Any, *size: int) -> bytes:
        reads.append(request)
        return b""

    monkeypatch.setattr(WSGIRequest, "body", property(body))
    monkeypatch.setattr(HttpRequest, "read", read)
    sent_key = ApiKey.objects.issue(shop, ["reports:read"]) if key == "scopeless" else key
    answer = Api(sent_key).generic(method, path, b"{", content_type=content_type)
    assert (answer.status_code, reads) == (status, [])


def test_many_errors_make_no_long_answer(api: Api) -> None:
    """535 kB of unknown fields were answered with 6.3 MB."""
    body = "{" + ",".join(f'"field-{index}-{"x" * 20}": 1' for index in range(5_000)) + "}"
    answer = api.place(body)
    assert answer.status_code == 422
    assert len(answer.content) < 20_000
    problem = answer.json()
    assert len(problem["errors"]) == configured.PROBLEM_ERRORS_MAX
    assert problem["detail"].endswith("more)")


def test_a_name_as_long_as_the_body_is_cut_in_the_answer(api: Api) -> None:
    answer = api.place('{"' + "a" * 500_000 + '": NaN}')
    [error] = answer.json()["errors"]
    assert (answer.status_code, len(error["pointer"])) == (400, configured.PROBLEM_TEXT_MAX_CHARS)
    assert len(answer.content) < 2_000


def test_more_values_than_any_order_has_are_refused(api: Api) -> None:
    answer = api.place('{"lines": [' + ",".join("0" * 10_000) + "]}")
    assert answer.status_code == 400
    assert answer.json()["detail"] == "the body holds more than 10000 values"


def test_an_error_of_the_page_that_tells_of_an_error_leaves_its_trace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*args: Any, **named: Any) -> HttpResponse:
        raise RuntimeError("the 404 page is broken")

    monkeypatch.setattr(error_pages, "render", breaks)
    answer = sent("GET", "/unknown", b"", "", {})
    assert answer.status_code == 500
    [record] = [record for record in caplog.records if record.exc_info]
    assert (record.name, record.levelno) == ("config.web.error_pages", logging.ERROR)
    assert record.exc_info is not None
    assert "the 404 page is broken" in str(record.exc_info[1])


def test_an_error_of_a_view_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def breaks(**_: Any) -> Callable[..., Any]:
        raise RuntimeError("broken")

    monkeypatch.setattr(Order.objects, "filter", breaks)
    assert sent("GET", "/o/some-token/", b"", "", {}).status_code == 500
    assert [
        record.name
        for record in caplog.records
        if record.levelno >= logging.ERROR and record.exc_info
    ][-1:] == ["config.web.error_pages"]


def test_what_has_no_body_has_no_type(api: Api, stock: Any, order_body: Callable[..., Any]) -> None:
    stock()
    placed = api.place(order_body())
    unchanged = api.get(placed["Location"], headers={"If-None-Match": "*"})
    assert (unchanged.status_code, "Content-Type" in unchanged.headers) == (304, False)
    made = api.post(
        "/v1/webhook-endpoints",
        {"url": "https://example.com/", "events": ["*"]},
        "application/json",
    )
    gone = api.delete(f"/v1/webhook-endpoints/{made.json()['id']}")
    assert (gone.status_code, "Content-Type" in gone.headers, gone.content) == (204, False, b"")


def test_no_cache_on_the_way_keeps_what_a_key_was_answered(
    api: Api, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock()
    order = api.get(api.place(order_body())["Location"])
    assert order["Cache-Control"] == "private, no-cache", "with an ETag it may be asked for again"
    endpoint = {"url": "https://example.com/", "events": ["*"]}
    with_secret = api.post("/v1/webhook-endpoints", endpoint, "application/json")
    assert (with_secret.status_code, with_secret["Cache-Control"]) == (201, "no-store")
