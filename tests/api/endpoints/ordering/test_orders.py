"""The order API, over Django's own HTTP client and the whole middleware."""

import gzip
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from pytest_django.fixtures import Settings

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from notifications.mail.message import render
from notifications.mail.recipients import recipients
from notifications.models import Event, Shop
from orders.models import ApiKey, Client, IdempotencyKey, Order, Stock
from orders.models.idempotency_key import fingerprint_of
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
Body = Callable[..., dict[str, Any]]


def assert_problem(response: Any, status: int, pointer: str | None = None) -> dict[str, Any]:
    """The answer is problem+json with that status, names the field, and nothing was written."""
    assert (response.status_code, response["Content-Type"]) == (
        status,
        "application/problem+json",
    ), response.content
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["type"].startswith("/problems/")
    assert problem["request_id"] == response["X-Request-ID"]
    if pointer is not None:
        assert pointer in [error["pointer"] for error in problem["errors"]], problem
    assert (
        Order.objects.count(),
        Event.objects.count(),
        Job.objects.count(),
        IdempotencyKey.objects.count(),
    ) == (0,) * 4
    return problem


def test_a_line_without_a_name_is_called_by_its_sku_wherever_it_is_shown(
    api: Api, stock: Any, order_body: Body
) -> None:
    """Neither the order nor the stock has a name for it: the mails call it what the page does."""
    stock(name="")
    lines = [{"sku": "SAKE-NIGIRI", "quantity": 2, "unit_price": 330}]
    order = api.place(order_body(lines=lines)).json()
    assert [line["name"] for line in order["lines"]] == ["SAKE-NIGIRI"]
    work_off()
    mails = [event for event in Event.objects.order_by("seq") if recipients(event)]
    assert [event.kind for event in mails] == ["order.received", "order.confirmed"]
    texts = [render(event, Shop.objects.of(event.owner))[1] for event in mails]
    assert ["  SAKE-NIGIRI × 2  ¥660\n" in text for text in texts] == [True, True]


def test_an_order_is_accepted_with_its_row_its_event_and_its_first_job(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    response = api.place(order_body())
    assert response.status_code == 202
    order = Order.objects.get()
    assert response["Location"] == f"/v1/orders/{order.pk}"
    body = response.json()
    assert (body["state"], body["payment_state"], body["fulfilment_state"]) == (
        "received",
        "none",
        "none",
    )
    assert (body["held"], body["version"], body["total"], body["external_id"]) == (
        False,
        1,
        660,
        "shop-1042",
    )
    assert body["lines"][0] == {
        "position": 0,
        "sku": "SAKE-NIGIRI",
        "name": "鮭",
        "quantity": 2,
        "unit_price": 300,
        "discount": 0,
        "tax": 60,
        "fulfilled": 0,
        "withdrawn": 0,
        "announced": 0,
        "returned": 0,
        "units_refunded": 0,
        "refunded": 0,
    }
    assert [event.kind for event in Event.objects.all()] == ["order.received"]
    assert sorted(Job.objects.values_list("task", flat=True)) == [
        "notifications.tasks.send_mail",
        "orders.tasks.reserve",
    ]


def test_an_order_becomes_confirmed_and_its_timeline_tells_how(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    placed = api.place(order_body()).json()
    work_off()
    response = api.get(placed["links"]["self"])
    order = response.json()
    assert (order["state"], order["payment_state"], order["captured"], order["version"]) == (
        "confirmed",
        "paid",
        660,
        3,
    )
    timeline = api.get(placed["links"]["events"]).json()["data"]
    assert [(entry["seq"], entry["type"]) for entry in timeline] == [
        (1, "order.received"),
        (2, "order.reserved"),
        (3, "order.confirmed"),
    ]
    assert timeline[1]["data"]["order"]["state"] == "reserved"
    for etag in ('"3"', 'W/"3"', '"1", "3"', "*"):
        assert api.get(placed["links"]["self"], headers={"If-None-Match": etag}).status_code == 304
    assert api.get(placed["links"]["self"], headers={"If-None-Match": '"2"'}).status_code == 200


# --- kinds of bodies ------------------------------------------------------------------------------


def send(api: Api, body: Any, *, kind: str) -> Any:
    return api.generic(
        "POST",
        "/v1/orders",
        json.dumps(body),
        content_type=kind,
        headers={"Idempotency-Key": "kind"},
    )


def test_json_that_is_sent_as_something_else_is_refused_with_the_header_to_send(
    api: Api, order_body: Body
) -> None:
    """The second is what curl sends of its own accord."""
    kinds = (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    )
    for kind in (*kinds, "application/json; charset=shift_jis"):
        problem = assert_problem(send(api, order_body(), kind=kind), 415)
        assert problem["type"] == "/problems/unsupported-media-type"
        assert "-H 'Content-Type: application/json'" in problem["detail"]
        assert kind.partition(";")[0] in problem["detail"]


@pytest.mark.parametrize("coding", ["gzip", "identity, gzip"])
def test_a_compressed_body_is_refused_by_the_name_of_its_coding(
    api: Api, order_body: Body, coding: str
) -> None:
    packed = gzip.compress(json.dumps(order_body()).encode())
    answer = api.generic(
        "POST",
        "/v1/orders",
        packed,
        content_type="application/json",
        headers={"Idempotency-Key": "kind", "Content-Encoding": coding},
    )
    problem = assert_problem(answer, 415)
    assert (problem["type"], coding in problem["detail"]) == (
        "/problems/unsupported-media-type",
        True,
    )


@pytest.mark.parametrize(
    "kind", ["", "Application/JSON; charset=UTF-8", "application/vnd.shop+json"]
)
def test_json_that_is_called_json_or_nothing_is_taken(
    api: Api, stock: Any, order_body: Body, kind: str
) -> None:
    stock()
    assert send(api, order_body(), kind=kind).status_code == 202


# --- bad input ------------------------------------------------------------------------------------

LINE = {"sku": "SAKE-NIGIRI", "quantity": 2, "unit_price": 300, "tax": 60}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"total": 661}, "/total"),
        ({"total": "660"}, "/total"),
        ({"total": 660.5}, "/total"),
        ({"total": True}, "/total"),
        ({"total": -1}, "/total"),
        ({"total": ...}, "/total"),
        ({"currency": "YEN"}, "/currency"),
        ({"currency": None}, "/currency"),
        ({"email": "hana"}, "/email"),
        ({"email": "hana@example.com\nBcc: all@example.com"}, "/email"),
        ({"email": "a@\u3002"}, "/email"),
        ({"email": "\u82b1@example.com"}, "/email"),
        ({"email": "a b@example.com"}, "/email"),
        ({"email": "a@b@example.com"}, "/email"),
        ({"email": "a@exa mple.com"}, "/email"),
        ({"email": "a@\u2603.example"}, "/email"),
        ({"email": "a@-\u00e9.example"}, "/email"),
        ({"email": "a@example.com."}, "/email"),
        ({"locale": 1}, "/locale"),
        ({"external_id": ""}, "/external_id"),
        ({"external_id": " "}, "/external_id"),
        ({"external_id": "sc-18 "}, "/external_id"),
        ({"external_id": "sc-18\u3000"}, "/external_id"),
        ({"external_id": "s\u200bc-18"}, "/external_id"),
        ({"external_id": "cafe\u0301"}, "/external_id"),
        ({"external_id": '="0017"'}, "/external_id"),
        ({"lines": [LINE | {"sku": "SAKE-NIGIRI\xa0"}]}, "/lines/0/sku"),
        ({"lines": [LINE | {"sku": "x" * 256}]}, "/lines/0/sku"),
        ({"lines": [LINE | {"name": "a\x1b[31mb"}]}, "/lines/0/name"),
        ({"metadata": {" ": "x"}}, "/metadata/ "),
        ({"external_id": 7}, "/external_id"),
        ({"lines": []}, "/lines"),
        ({"lines": {}}, "/lines"),
        ({"lines": [LINE | {"sku": "NO-SUCH"}]}, "/lines/0/sku"),
        ({"lines": [LINE, LINE | {"quantity": -2}]}, "/lines/1/quantity"),
        ({"lines": [LINE | {"quantity": 0}]}, "/lines/0/quantity"),
        ({"lines": [LINE | {"quantity": "2"}]}, "/lines/0/quantity"),
        ({"lines": [LINE | {"unit_price": 3.5}]}, "/lines/0/unit_price"),
        ({"lines": [LINE | {"discount": 601}]}, "/lines/0/discount"),
        ({"lines": [LINE | {"colour": "red"}]}, "/lines/0/colour"),
        ({"lines": ["SAKE-NIGIRI"]}, "/lines/0"),
        ({"lines": [LINE] * 201}, "/lines"),
        ({"shipping": {"amount": -1}}, "/shipping/amount"),
        ({"payment": {}}, "/payment/token"),
        ({"payment": None}, "/payment"),
        ({"metadata": {"table": 7}}, "/metadata/table"),
        ({"metadata": {"a/b~c": 7}}, "/metadata/a~1b~0c"),
        ({"metadata": {"table": "x" * 501}}, "/metadata/table"),
        ({"customer": {"name": "x" * 201}}, "/customer/name"),
        ({"customer": {"phone": "1" * 41}}, "/customer/phone"),
        ({"customer": {"external_id": "c-1 "}}, "/customer/external_id"),
        ({"customer": {"mail": "x"}}, "/customer/mail"),
        ({"shipping_address": {"country": "JPN"}}, "/shipping_address/country"),
        ({"shipping_address": {"country": "jp"}}, "/shipping_address/country"),
        ({"shipping_address": {"postal_code": "〒150"}}, "/shipping_address/postal_code"),
        ({"billing_address": {"line1": "a\nb"}}, "/billing_address/line1"),
        ({"billing_address": "Shibuya"}, "/billing_address"),
        ({"note": "x" * 2001}, "/note"),
        ({"tags": ["gift", "gift"]}, "/tags"),
        ({"tags": ["gift "]}, "/tags/0"),
        ({"tags": [str(number) for number in range(11)]}, "/tags"),
        ({"unknown": 1}, "/unknown"),
    ],
)
def test_a_wrong_field_is_refused_by_name(
    api: Api, stock: Any, order_body: Body, changes: Any, pointer: str
) -> None:
    stock()
    assert_problem(api.place(order_body(**changes)), 422, pointer)


@pytest.mark.parametrize(
    ("raw", "status", "pointer"),
    [
        (b"", 422, ""),
        (b"{", 400, ""),
        (b"null", 422, ""),
        (b"[]", 422, ""),
        (b'"x"', 422, ""),
        (b"[" * 100_000, 400, ""),
        (b'{"metadata":' + b'{"a":' * 40 + b"1" + b"}" * 41, 400, "/metadata" + "/a" * 32),
        (b'{"a":' * 100_000, 400, ""),
        (b'{"total": ' + b"9" * 5000 + b"}", 400, "/total"),
        (b'{"total": NaN}', 400, "/total"),
        (b'{"total": -Infinity}', 400, "/total"),
        (b'{"total": 1e999}', 400, "/total"),
        (b'{"total": 1, "total": 2}', 400, "/total"),
        (b'{"lines": [{"sku": "a", "sku": "b"}]}', 400, "/lines/0/sku"),
        (b'{"email": "\\ud800"}', 400, "/email"),
        (b'{"email": "a\\u0000b"}', 400, "/email"),
        (b'{"a\\u0000b": 1}', 400, ""),
        (b'{"email": "\xff\xfe"}', 400, ""),
        (b"\xef\xbb\xbf{}", 400, ""),
        (b"{}{}", 400, ""),
        (b"total=660", 400, ""),
    ],
)
def test_bad_json_is_refused_and_the_place_is_named(
    api: Api, raw: bytes, status: int, pointer: str
) -> None:
    assert_problem(api.place(raw), status, pointer)


def test_a_body_over_the_limit_is_413(api: Api) -> None:
    assert_problem(api.place(b'{"a": "' + b"x" * 2_000_000 + b'"}'), 413)


def test_an_order_needs_an_idempotency_key(api: Api, order_body: Body) -> None:
    assert_problem(api.post("/v1/orders", order_body(), content_type="application/json"), 400)
    for key in ("x" * 256, "鍵", "é"):
        assert_problem(api.place(order_body(), key=key), 400)


def test_a_chunked_body_is_refused_by_name_and_not_taken_for_an_empty_one(api: Api) -> None:
    response = api.generic("POST", "/v1/orders", b"", headers={"Transfer-Encoding": "chunked"})
    assert "Content-Length" in assert_problem(response, 411)["detail"]


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer nonsense", "Basic aGk6aGk=", "Bearer \u00e9"]
)
def test_without_a_valid_key_there_is_a_401(authorization: str, db: None) -> None:
    http = Api("")
    http.defaults["HTTP_AUTHORIZATION"] = authorization
    response = http.place({})
    assert_problem(response, 401)
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_key_without_the_scope_is_told_which_one_it_lacks(shop: Client, order_body: Body) -> None:
    problem = assert_problem(
        Api(ApiKey.objects.issue(shop, ["orders:read"])).place(order_body()), 403
    )
    assert "orders:write" in problem["detail"]


def test_another_clients_order_is_not_there(api: Api, stock: Any, order_body: Body) -> None:
    stock()
    placed = api.place(order_body()).json()
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), []))
    for path in (
        placed["links"]["self"],
        placed["links"]["events"],
        f"/v1/orders/{uuid4()}",
        "/v1/orders/x",
    ):
        assert stranger.get(path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/v1/", 404),
        ("get", "/v1/nothing", 404),
        ("delete", "/v1/orders", 405),
        ("put", "/v1/orders", 405),
    ],
)
def test_djangos_own_refusals_are_problems_too(
    api: Api, settings: Settings, method: str, path: str, status: int
) -> None:
    for settings.DEBUG in (True, False):
        assert_problem(getattr(api, method)(path), status)


def test_an_address_with_a_nul_is_refused_by_name(api: Api) -> None:
    for path in ("/v1/orders/by-external/%00", "/v1/orders?email=a%00"):
        assert "NUL" in assert_problem(api.get(path), 400)["detail"]


def test_head_is_body_as_get_is(api: Api, stock: Any, order_body: Body) -> None:
    stock()
    path = api.place(order_body()).json()["links"]["self"]
    got, head = api.get(path), api.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag"):
        assert head[name] == got[name]
    assert api.head(path, headers={"If-None-Match": head["ETag"]}).status_code == 304
    assert api.head("/v1/orders/x").status_code == 404
    assert Api("nobody").head(path).status_code == 401


def test_what_happened_to_an_order_is_read_in_pages(api: Api, stock: Any, order_body: Body) -> None:
    stock()
    path = api.place(order_body()).json()["links"]["events"]
    work_off()
    whole = api.get(path).json()
    assert ([entry["seq"] for entry in whole["data"]], whole["next"]) == ([1, 2, 3], None)
    page = api.get(f"{path}?limit=2").json()
    assert page == {"data": whole["data"][:2], "next": "2"}
    assert api.get(f"{path}?limit=2&after={page['next']}").json() == {
        "data": whole["data"][2:],
        "next": None,
    }
    for wrong in ("limit=0", "limit=101", "after=x", "after=-1", f"after={2**31}"):
        refused = api.get(f"{path}?{wrong}").json()["errors"]
        assert refused[0]["pointer"] == f"/query/{wrong.partition('=')[0]}"


def test_an_unforeseen_error_shows_no_stack_trace(
    api: Api, order_body: Body, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(Order.objects, "place", lambda *_: 1 / 0)
    for settings.DEBUG in (True, False):
        response = api.place(order_body())
        assert_problem(response, 500)
        assert b"division" not in response.content
        assert b"Traceback" not in response.content


# --- once -----------------------------------------------------------------------------------------


def test_the_same_key_and_body_give_the_same_answer_and_one_order(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    first = api.place(order_body())
    work_off()
    again = api.place(json.dumps(order_body(), indent=8).encode())
    assert (again.status_code, again.content, again["Location"]) == (
        202,
        first.content,
        first["Location"],
    )
    assert (again["Idempotent-Replayed"], first.headers.get("Idempotent-Replayed")) == (
        "true",
        None,
    )
    assert Order.objects.count() == 1


def test_a_key_used_for_another_body_is_refused(api: Api, stock: Any, order_body: Body) -> None:
    stock()
    api.place(order_body())
    response = api.place(order_body(email="other@example.com"))
    assert (response.status_code, response.json()["type"]) == (
        422,
        "/problems/idempotency-key-reused",
    )
    assert Order.objects.count() == 1


def test_a_request_is_known_by_what_was_sent_so_that_a_release_may_add_fields(
    api: Api, stock: Any, order_body: Body
) -> None:
    """A client repeats during a deploy, and a field that is new since its first try says nothing
    about its request.
    """
    stock()
    sent = order_body(external_id=..., shipping=..., metadata=..., locale=...)
    assert api.place(sent).status_code == 202
    kept = IdempotencyKey.objects.get()
    assert bytes(kept.fingerprint) == fingerprint_of({"path": "/v1/orders", "said": sent})
    assert api.place({**sent, "external_id": None, "locale": "en"})["Idempotent-Replayed"] == "true"


def test_a_refused_request_leaves_its_key_free(api: Api, stock: Any, order_body: Body) -> None:
    stock()
    assert_problem(api.place(order_body(total=1)), 422)
    assert api.place(order_body()).status_code == 202


def test_two_clients_may_use_the_same_key(api: Api, stock: Any, order_body: Body) -> None:
    stock()
    other = Api(ApiKey.objects.issue(Client.objects.create(name="other"), []))
    assert {api.place(order_body()).status_code, other.place(order_body()).status_code} == {202}
    assert Order.objects.count() == 2


def test_an_external_id_is_taken_for_ever_and_leads_to_its_order(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    first = api.place(order_body(), key="a")
    again = api.place(order_body(), key="b")
    assert (again.status_code, again["Location"]) == (409, first["Location"])
    assert (Order.objects.count(), IdempotencyKey.objects.count(), Event.objects.count()) == (
        1,
        1,
        1,
    )


def test_orders_without_external_id_do_not_collide(api: Api, stock: Any, order_body: Body) -> None:
    stock()
    for key in "ab":
        assert api.place(order_body(external_id=...), key=key).status_code == 202


# --- stock ----------------------------------------------------------------------------------------


def test_stock_is_counted_and_read(api: Api) -> None:
    counted = api.put(
        "/v1/stock/EBI", {"on_hand": 7, "name": "海老"}, content_type="application/json"
    )
    expected = {"sku": "EBI", "name": "海老", "on_hand": 7, "reserved": 0, "available": 7}
    expected |= {"counted": True, "backorder_limit": 0, "low_at": None}
    assert (counted.status_code, counted.json()) == (200, expected)
    api.put("/v1/stock/EBI", {"on_hand": 9}, content_type="application/json")
    assert api.get("/v1/stock/EBI").json() == expected | {"on_hand": 9, "available": 9}
    assert api.get("/v1/stock").json()["data"] == [expected | {"on_hand": 9, "available": 9}]
    assert list(Stock.objects.get().movements.values_list("on_hand_delta", flat=True)) == [7, 2]


def test_stock_that_is_adjusted_twice_under_one_key_is_adjusted_once(api: Api, stock: Any) -> None:
    stock(on_hand=5)

    def adjust(delta: int, key: str) -> Any:
        body = {"delta": delta, "reason": "delivery"}
        return api.patch(
            "/v1/stock/SAKE-NIGIRI",
            body,
            content_type="application/json",
            headers={"Idempotency-Key": key},
        )

    first, again = adjust(3, "a"), adjust(3, "a")
    assert (first.status_code, first.json()["on_hand"], "Location" in first) == (200, 8, False)
    assert (again.content, again["Idempotent-Replayed"]) == (first.content, "true")
    assert adjust(4, "a").json()["type"] == "/problems/idempotency-key-reused"
    assert adjust(-9, "b").json()["errors"][0]["pointer"] == "/delta"
    for key in ("\x7f", "a  b", '="0017"', "x" * 256):
        assert adjust(1, key).json()["type"] == "/problems/idempotency-key-invalid"
    assert Stock.objects.get().on_hand == 8
    assert list(Stock.objects.get().movements.values_list("on_hand_delta", flat=True)) == [5, 3]


def test_a_whole_number_may_be_written_as_json_writes_one(
    api: Api, stock: Any, order_body: Body
) -> None:
    """JSON Schema calls `660.0` an integer."""
    stock()
    text = (
        json.dumps(order_body())
        .replace('"total": 660', '"total": 6.60e2')
        .replace('"quantity": 2', '"quantity": 2.0')
    )
    assert (api.place(text).status_code, Order.objects.get().total) == (202, 660)
    again = api.place(order_body())
    assert again["Idempotent-Replayed"] == "true", "it is the same request"


def test_stock_is_listed_in_pages_by_sku(api: Api, stock: Any) -> None:
    """Also skus that an address could not hold as they are."""
    skus = ["A&B=C", "A/#1", "EBI", "TORO", "UNI"]
    for sku in reversed(skus):
        stock(sku, 1)
    assert [row["sku"] for row in api.get("/v1/stock").json()["data"]] == skus
    found, after = [], ""
    for _ in range(3):
        page = api.get(f"/v1/stock?limit=2{after}").json()
        found.append([row["sku"] for row in page["data"]])
        after = f"&after={page['next']}"
    assert (found, page["next"]) == ([skus[:2], skus[2:4], skus[4:]], None)
    for wrong, name in (
        ("limit=1001", "limit"),
        ("limit=0", "limit"),
        ("after=x", "after"),
        ("after=4pyT", "after"),
    ):
        problem = assert_problem(api.get(f"/v1/stock?{wrong}"), 422)
        assert problem["errors"][0]["pointer"] == f"/query/{name}"


def test_stock_cannot_be_counted_below_what_is_reserved(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock(on_hand=5)
    api.place(order_body())
    work_off()
    response = api.put("/v1/stock/SAKE-NIGIRI", {"on_hand": 1}, content_type="application/json")
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/on_hand")
    assert (Stock.objects.get().on_hand, Stock.objects.get().reserved) == (5, 2)


@pytest.mark.parametrize(
    "body", [{"on_hand": -1}, {"on_hand": "1"}, {"on_hand": 10**13}, {}, {"on_hand": 1, "x": 1}]
)
def test_a_wrong_count_is_refused(api: Api, body: Any) -> None:
    assert_problem(api.put("/v1/stock/EBI", body, content_type="application/json"), 422)
    assert Stock.objects.count() == 0


@pytest.mark.parametrize("sku", ["%00", "a%20", "a%E2%80%8Bb", "a%20%20b", "x" * 256])
def test_a_sku_that_nobody_could_tell_from_another_is_not_made(api: Api, sku: str) -> None:
    response = api.put(f"/v1/stock/{sku}", {"on_hand": 1}, content_type="application/json")
    assert response.status_code in (400, 422)
    assert response["Content-Type"] == "application/problem+json"
    assert api.get(f"/v1/stock/{sku}").status_code in (400, 404)
    assert Stock.objects.count() == 0


SKUS = ('Frame 12" oak', "a b", "é", "х-1", "x" * 255, "鮭 にぎり", "鮭/特上")  # in bytewise order


def test_a_sku_is_what_its_shop_writes(api: Api, order_body: Body) -> None:
    """Spaces and letters of any script; and none leads to another's page."""
    for sku in SKUS:
        path = f"/v1/stock/{quote(sku)}"
        assert api.put(path, {"on_hand": 1}, content_type="application/json").status_code == 200
        assert api.get(path).json()["sku"] == sku
    lines = [{"sku": sku, "quantity": 1, "unit_price": 1} for sku in SKUS]
    body = order_body(lines=lines, total=len(SKUS))
    assert [line["sku"] for line in api.place(body).json()["lines"]] == list(SKUS)
    found, after = [], ""
    while after is not None:
        page = api.get("/v1/stock", {"limit": 1} | ({"after": after} if after else {})).json()
        found += [row["sku"] for row in page["data"]]
        after = page["next"]
    assert sorted(found) == sorted(SKUS)


def test_a_sku_from_before_names_had_to_be_plain_is_read_and_counted(api: Api, stock: Any) -> None:
    stock('="0017"', on_hand=2)
    path = f"/v1/stock/{quote('="0017"')}"
    assert api.get(path).json()["on_hand"] == 2
    body, headers = {"delta": 1, "reason": "x"}, {"Idempotency-Key": "x"}
    counted = api.patch(path, body, content_type="application/json", headers=headers)
    assert counted.json()["on_hand"] == 3


# --- jobs -----------------------------------------------------------------------------------------


def test_a_client_reads_its_own_jobs_and_the_shops_but_no_strangers(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    api.place(order_body())
    work_off()
    charge = Job.objects.get(task="orders.tasks.charge")
    job = api.get(f"/v1/jobs/{charge.pk}").json()
    assert (job["id"], job["state"], job["attempts"], job["error"]) == (
        str(charge.pk),
        "done",
        1,
        None,
    )
    assert "args" not in job
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), []))
    assert stranger.get(f"/v1/jobs/{charge.pk}").status_code == 404
    Job.objects.filter(pk=charge.pk).update(owner="")
    assert stranger.get(f"/v1/jobs/{charge.pk}").status_code == 200


def test_the_request_id_of_the_router_is_kept_and_a_strange_one_is_not(
    api: Api, stock: Any, order_body: Body
) -> None:
    stock()
    sent = api.post(
        "/v1/orders",
        order_body(),
        content_type="application/json",
        headers={"Idempotency-Key": "k", "X-Request-ID": "8c1f-router-id"},
    )
    assert sent["X-Request-ID"] == "8c1f-router-id"
    assert {job.context["request_id"] for job in Job.objects.all()} == {"8c1f-router-id"}
    assert api.get("/livez", headers={"X-Request-ID": "a b\r\n"})["X-Request-ID"] != "a b\r\n"


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(TRACE, TRACE), ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", None), ("x", None)],
)
def test_the_trace_of_the_caller_travels_with_the_jobs(
    api: Api, stock: Any, order_body: Body, sent: str, kept: str | None
) -> None:
    stock()
    headers = {"Idempotency-Key": "k", "traceparent": sent}
    api.post("/v1/orders", order_body(), content_type="application/json", headers=headers)
    assert {job.context.get("traceparent") for job in Job.objects.all()} == {kept}
    work_off()
    assert {job.context.get("traceparent") for job in Job.objects.all()} == {kept}
