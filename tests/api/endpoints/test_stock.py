"""Stock as shops have it: what is counted and what is not, owed, low, removed, and why."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from notifications.models import Delivery, Endpoint, Event
from notifications.tasks import announce_all, note_all_untold
from orders.models import ApiKey, Client, Order, Stock, StockMovement
from tests.doubles.edges import WebhookSink
from tests.orders.books import books_balance
from tests.orders.imports.files import as_ndjson
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
NDJSON = "application/x-ndjson"
Body = Callable[..., dict[str, Any]]


def put(api: Api, sku: str = "EBI", headers: Any = None, **body: Any) -> Any:
    path = f"/v1/stock/{quote(sku)}"
    return api.put(path, body, content_type="application/json", headers=headers or {})


def adjust(api: Api, sku: str, delta: int, key: str) -> Any:
    return api.patch(
        f"/v1/stock/{quote(sku)}",
        {"delta": delta, "reason": "inventory"},
        content_type="application/json",
        headers={"Idempotency-Key": key},
    )


def order(api: Api, body: Body, sku: str, quantity: int, number: int = 1) -> Order:
    lines = [{"sku": sku, "quantity": quantity, "unit_price": 100}]
    body_of_order = body(external_id=f"o-{number}", lines=lines, total=100 * quantity)
    placed = api.place(body_of_order, key=f"o-{number}")
    assert placed.status_code == 202
    work_off()
    return Order.objects.get(pk=placed.json()["id"])


def pointers(response: Any) -> list[str]:
    assert response.status_code == 422
    return [error["pointer"] for error in response.json()["errors"]]


def lows() -> list[tuple[str, int, int]]:
    events = Event.objects.filter(kind="stock.low").order_by("seq")
    snapshots = [(event.data["stock"], event.seq) for event in events]
    return [(stock["sku"], seq, stock["available"]) for stock, seq in snapshots]


# --- not counted, and owed ------------------------------------------------------------------------


def test_goods_that_nobody_counts_are_never_sold_out(api: Api, order_body: Body) -> None:
    assert put(api, "GIFT-CARD", counted=False).json()["available"] is None
    placed = order(api, order_body, "GIFT-CARD", 1000)
    assert placed.state == "confirmed"
    stock = api.get("/v1/stock/GIFT-CARD").json()
    assert (stock["on_hand"], stock["reserved"], stock["available"]) == (0, 1000, None)
    assert post(api, f"/v1/orders/{placed.pk}/fulfilments").status_code == 201
    stock = api.get("/v1/stock/GIFT-CARD").json()
    assert (stock["on_hand"], stock["reserved"]) == (0, 0)
    back = {"lines": [{"position": 0, "quantity": 3}], "restock": True, "reason": "x"}
    assert post(api, f"/v1/orders/{placed.pk}/refunds", back).status_code == 202
    assert api.get("/v1/stock/GIFT-CARD").json()["on_hand"] == 0
    assert books_balance()


def test_goods_are_counted_again_when_all_that_is_promised_is_there(
    api: Api, order_body: Body
) -> None:
    put(api, counted=False)
    order(api, order_body, "EBI", 5)
    assert pointers(put(api, counted=True)) == ["/counted"]
    assert pointers(put(api, counted=True, on_hand=4)) == ["/on_hand"]
    assert put(api, counted=True, on_hand=5).json()["available"] == 0
    assert books_balance()


def test_more_is_sold_than_there_is_up_to_the_limit_and_no_further(
    api: Api, order_body: Body
) -> None:
    assert put(api, on_hand=2, backorder_limit=3).json()["available"] == 5
    first = order(api, order_body, "EBI", 4, 1)
    assert order(api, order_body, "EBI", 2, 2).reason == "out_of_stock"
    assert order(api, order_body, "EBI", 1, 3).state == "confirmed"
    assert api.get("/v1/stock/EBI").json()["available"] == 0
    assert pointers(put(api, backorder_limit=2)) == ["/backorder_limit"]
    assert adjust(api, "EBI", -1, "less").json()["errors"][0]["pointer"] == "/delta"
    with pytest.raises(IntegrityError, match="stock_never_oversold"), transaction.atomic():
        Stock.objects.update(reserved=6)
    # sent before it was counted in: then what is on hand is what the count will find missing
    assert post(api, f"/v1/orders/{first.pk}/fulfilments").status_code == 201
    stock = api.get("/v1/stock/EBI").json()
    assert (stock["on_hand"], stock["reserved"], stock["available"]) == (-2, 1, 0)
    assert adjust(api, "EBI", 10, "delivery").json()["available"] == 10
    assert books_balance()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"on_hand": None}, "/on_hand"),
        ({"counted": "no"}, "/counted"),
        ({"backorder_limit": -1}, "/backorder_limit"),
        ({"low_at": -1}, "/low_at"),
        ({"low_at": 10**12 + 1}, "/low_at"),
        ({"threshold": 1}, "/threshold"),
    ],
)
def test_what_is_said_wrong_is_refused_by_name(api: Api, body: Any, pointer: str) -> None:
    assert pointers(put(api, **body)) == [pointer]
    assert not Stock.objects.exists()


def test_what_is_not_said_stays_as_it_is(api: Api) -> None:
    put(api, on_hand=7, name="海老", backorder_limit=2, low_at=3)
    stock = put(api, name="Shrimp").json()
    assert stock == {
        "sku": "EBI",
        "name": "Shrimp",
        "on_hand": 7,
        "reserved": 0,
        "available": 9,
        "counted": True,
        "backorder_limit": 2,
        "low_at": 3,
    }
    assert put(api, low_at=None).json() == stock | {"low_at": None}
    assert [row.on_hand_delta for row in StockMovement.objects.all()] == [7]


# --- low ------------------------------------------------------------------------------------------


def test_low_stock_is_told_once_each_time_it_falls(api: Api, order_body: Body) -> None:
    put(api, on_hand=10, low_at=5)
    order(api, order_body, "EBI", 4, 1)
    assert lows() == []
    order(api, order_body, "EBI", 1, 2)
    order(api, order_body, "EBI", 1, 3)
    assert lows() == [("EBI", 1, 5)]
    adjust(api, "EBI", 10, "in")
    adjust(api, "EBI", -10, "out")
    assert lows() == [("EBI", 1, 5), ("EBI", 2, 4)]
    put(api, on_hand=30)
    put(api, on_hand=8)
    put(api, on_hand=7)
    assert [seq for _, seq, _ in lows()] == [1, 2, 3]
    put(api, low_at=20)
    put(api, "NEW", on_hand=1, low_at=20)
    assert len(lows()) == 3, "nothing fell"


def test_what_was_not_reserved_is_not_told_as_low(api: Api, order_body: Body) -> None:
    put(api, "EBI", on_hand=10, low_at=9)
    put(api, "UNI", on_hand=0)
    lines = [{"sku": sku, "quantity": 1, "unit_price": 100} for sku in ("EBI", "UNI")]
    api.place(order_body(lines=lines, total=200))
    work_off()
    assert (Order.objects.get().reason, lows()) == ("out_of_stock", [])


def test_low_stock_is_told_to_every_client_that_listens(
    api: Api, shop: Client, sink: WebhookSink, order_body: Body
) -> None:
    """The stock is one for all of them; each webhook is a job of the client that hears it."""
    other = Client.objects.create(name="other")
    for owner, kinds in ((shop, ["stock.low"]), (other, ["*"]), (other, ["order.held"])):
        Endpoint.objects.create(owner=owner.pk, url=sink.url, events=kinds, quick=True)
    put(api, on_hand=3, low_at=2)
    adjust(api, "EBI", -1, "gone")
    owners = sorted(
        str(owner) for owner in Delivery.objects.values_list("endpoint__owner", flat=True)
    )
    assert owners == sorted([str(shop.pk), str(other.pk)])
    assert sorted(Job.objects.values_list("owner", flat=True)) == owners
    work_off()
    heard = [json.loads(body) for _, body in sink.heard]
    assert [(one["type"], one["data"]["stock"]["available"]) for one in heard] == [
        ("stock.low", 2)
    ] * 2


def test_many_that_fall_low_at_once_are_told_by_jobs_each_once(
    api: Api, shop: Client, sink: WebhookSink, settings: Any
) -> None:
    """Nobody who orders one of them waits until it is found who is told of all."""
    settings.TELL_AT_ONCE = 2
    Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"], quick=True)
    for on_hand in (10, 4):
        rows = [{"sku": f"S-{n}", "on_hand": on_hand, "low_at": 5} for n in range(5)]
        assert api.put("/v1/stock", as_ndjson(rows), NDJSON).status_code == 200
    assert [seq for _, seq, _ in lows()] == [1] * 5
    assert (
        list(Job.objects.values_list("task", "queue"))
        == [("notifications.tasks.announce_all", "bulk")] * 3
    )
    assert not Delivery.objects.exists()
    work_off()
    announce_all.delay([str(event.pk) for event in Event.objects.all()])  # once more
    work_off()
    heard = [json.loads(body)["data"]["stock"]["sku"] for _, body in sink.heard]
    assert sorted(heard) == [f"S-{n}" for n in range(5)]


def test_of_many_whose_job_died_the_deliveries_can_be_sent_again(
    api: Api, shop: Client, sink: WebhookSink
) -> None:
    Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"])
    ids = [
        str(Event.objects.create(kind="stock.low", subject=uuid4(), seq=1, data={}).pk)
        for _ in range(2)
    ]
    note_all_untold.delay(ids)
    work_off()
    assert [one.state for one in Delivery.objects.all()] == ["failed", "failed"]


# --- compare and set, and the book ----------------------------------------------------------------


def test_a_count_is_set_only_if_things_are_as_they_were_seen(api: Api) -> None:
    tag = put(api, on_hand=5)["ETag"]
    assert api.get("/v1/stock/EBI")["ETag"] == tag
    assert put(api, on_hand=6, expected=5).status_code == 200
    refused = put(api, on_hand=9, expected=5)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (412, "/expected")
    late = put(api, on_hand=9, headers={"If-Match": tag})
    assert (late.status_code, late.json()["type"]) == (412, "/problems/precondition-failed")
    now = api.get("/v1/stock/EBI")["ETag"]
    assert put(api, on_hand=7, headers={"If-Match": now}).json()["on_hand"] == 7
    for headers in ({"If-Match": "*"}, {"If-Match": now}):
        assert put(api, "UNI", on_hand=1, headers=headers).status_code == 412
    assert put(api, "UNI", on_hand=1, expected=0).status_code == 412
    assert put(api, on_hand=8, headers={"If-Match": "*"}).json()["on_hand"] == 8
    assert not Stock.objects.filter(sku="UNI").exists()


def test_an_adjustment_needs_a_key(api: Api) -> None:
    put(api, on_hand=5)
    body = {"delta": 1, "reason": "x"}
    refused = api.patch("/v1/stock/EBI", body, content_type="application/json")
    assert refused.json()["type"] == "/problems/idempotency-key-required"
    assert Stock.objects.get().on_hand == 5


def test_the_book_says_why_there_is_what_there_is(api: Api, order_body: Body) -> None:
    put(api, on_hand=5)
    put(api, "UNI", on_hand=1)
    adjust(api, "EBI", -1, "a")
    placed = order(api, order_body, "EBI", 2)
    page = api.get("/v1/stock-movements?sku=EBI").json()
    assert page["next"] is None
    movements = [
        (row["kind"], row["on_hand_delta"], row["reserved_delta"], row["reason"], row["order_id"])
        for row in page["data"]
    ]
    assert movements == [
        ("reserved", 0, 2, None, str(placed.pk)),
        ("adjusted", -1, 0, "inventory", None),
        ("counted", 5, 0, None, None),
    ]
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), ["stock:read"]))
    assert stranger.get("/v1/stock-movements?sku=EBI").json()["data"][0]["order_id"] is None
    found, after = [], ""
    while after is not None:
        page = api.get(f"/v1/stock-movements?limit=1{after and f'&after={after}'}").json()
        found += [row["sku"] for row in page["data"]]
        after = page["next"]
    assert found == ["EBI", "EBI", "UNI", "EBI"]
    assert pointers(api.get("/v1/stock-movements?after=x")) == ["/query/after"]


def test_a_sku_is_removed_unless_it_is_promised_and_made_anew(api: Api, order_body: Body) -> None:
    put(api, on_hand=5, name="海老", low_at=1, backorder_limit=9)
    placed = order(api, order_body, "EBI", 2)
    refused = api.delete("/v1/stock/EBI")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/stock-reserved")
    with pytest.raises(IntegrityError, match="removed_is_not_reserved"), transaction.atomic():
        Stock.objects.update(removed_at="2026-01-01T00:00Z")
    post(api, f"/v1/orders/{placed.pk}/cancel")
    assert api.delete("/v1/stock/EBI").status_code == 204
    assert api.delete("/v1/stock/EBI").status_code == 404
    assert api.get("/v1/stock/EBI").status_code == 404
    assert api.get("/v1/stock").json()["data"] == []
    assert adjust(api, "EBI", 1, "x").status_code == 404
    again = api.place(order_body(lines=[{"sku": "EBI", "quantity": 1, "unit_price": 660}]), "again")
    assert pointers(again) == ["/lines/0/sku"]
    movements = api.get("/v1/stock-movements?sku=EBI").json()["data"]
    assert (movements[0]["on_hand_delta"], movements[0]["reason"]) == (-5, "removed")
    anew = put(api, on_hand=1).json()
    assert (anew["name"], anew["low_at"], anew["backorder_limit"]) == ("", None, 0)
    assert books_balance()


def test_an_order_whose_sku_was_removed_before_its_goods_were_set_aside_is_sold_out(
    api: Api, order_body: Body
) -> None:
    put(api, "GIFT", counted=False)
    lines = [{"sku": "GIFT", "quantity": 1, "unit_price": 660}]
    assert api.place(order_body(lines=lines)).status_code == 202
    assert api.delete("/v1/stock/GIFT").status_code == 204
    work_off()
    assert Order.objects.get().reason == "out_of_stock"
    assert (Stock.objects.get().reserved, books_balance()) == (0, True)


# --- a file ---------------------------------------------------------------------------------------


def send(api: Api, text: str | bytes, kind: str = "text/csv", **query: str) -> Any:
    data = text if isinstance(text, bytes) else text.encode()
    return api.put("/v1/stock", data, content_type=kind, query_params=query)


def test_a_file_sets_the_skus_that_it_names(api: Api) -> None:
    put(api, "EBI", on_hand=1, name="海老", low_at=2)
    put(api, "UNI", on_hand=1)
    text = (
        "sep=;\r\nName;SKU; On hand ;Low at;counted\r\n;EBI;5;;\r\n"
        'Oak; Frame 12" ;"7";3;\r\n鮭;鮭 にぎり;;;no\r\n\r\n'
    )
    done = send(api, text)
    assert (done.status_code, done.json()) == (200, {"rows": 3})
    rows = {row["sku"]: row for row in api.get("/v1/stock").json()["data"]}
    assert (rows["EBI"]["on_hand"], rows["EBI"]["name"], rows["EBI"]["low_at"]) == (5, "海老", 2)
    assert (rows['Frame 12"']["on_hand"], rows['Frame 12"']["low_at"]) == (7, 3)
    assert (rows["鮭 にぎり"]["counted"], rows["鮭 にぎり"]["name"]) == (False, "鮭")
    assert rows["UNI"]["on_hand"] == 1
    movements = StockMovement.objects.count()
    assert send(api, text).status_code == 200
    assert StockMovement.objects.count() == movements, "the same file again moves nothing"
    sjis = send(api, "sku,name\nEBI,海老天\n".encode("cp932"), encoding="shift_jis")
    assert sjis.status_code == 200
    assert api.get("/v1/stock/EBI").json()["name"] == "海老天"
    ndjson = '{"sku": "EBI", "on_hand": 8, "low_at": null}\n\n{"sku": "T", "backorder_limit": 4}\n'
    assert send(api, ndjson, "application/x-ndjson").json() == {"rows": 2}
    ebi = api.get("/v1/stock/EBI").json()
    assert (ebi["on_hand"], ebi["low_at"]) == (8, None)
    assert books_balance()


def test_a_file_is_taken_as_a_whole_or_not_at_all(api: Api, order_body: Body) -> None:
    put(api, "EBI", on_hand=5)
    put(api, "UNI", on_hand=5)
    order(api, order_body, "EBI", 3)
    text = "sku,on_hand\nUNI,9\n\nEBI,2\nTORO,1\n"
    refused = send(api, text)
    assert pointers(refused) == ["/line 4/on_hand"]
    assert "reserved for orders" in refused.json()["detail"]
    assert dict(Stock.objects.values_list("sku", "on_hand")) == {"EBI": 5, "UNI": 5}
    wrong = (
        "sku,on_hand,counted,low_at\nUNI,1.5,,\n a  b ,1,,\nUNI,1,perhaps,\nUNI,1,,-1\n"
        ",3,,\nUNI,4,,\nUNI,5,,,x\n"
    )
    assert pointers(send(api, wrong)) == [
        "/line 2/on_hand",
        "/line 3/sku",
        "/line 4/counted",
        "/line 5/low_at",
        "/line 6/sku",
        "/line 8",
    ]
    assert pointers(send(api, "sku,on_hand\nUNI,4\nUNI,5\n")) == ["/line 3/sku"]
    cut_off = send(api, '{"sku": "UNI", "on_hand": 1}\n{"sku": ', "application/x-ndjson")
    assert pointers(cut_off) == ["/line 2"]
    assert "/reserved" in pointers(send(api, "sku,reserved\nUNI,1\n"))
    assert pointers(send(api, "\n")) == pointers(send(api, "sku\n")) == [""]
    assert send(api, "sku\nUNI\n", "application/json").status_code == 415
    assert Stock.objects.get(sku="UNI").on_hand == 5


def test_a_file_has_a_limit(api: Api, settings: Any) -> None:
    settings.STOCK_FILE_MAX_ROWS = 2
    assert send(api, "sku,on_hand\nA,1\nB,1\n").status_code == 200
    assert "more than 2 rows" in send(api, "sku,on_hand\nA,1\nB,1\nC,1\n").json()["detail"]
    assert Stock.objects.count() == 2
