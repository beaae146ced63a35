"""Goods on the staff pages: found, counted once, told who was faster."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client as HttpClient
from django.utils.translation import override

from ops.models import StaffAction
from orders.models import Order, Stock, StockMovement
from tests.ops.browsing import log_in, text
from tests.postgres.hands import in_threads
from tests.postgres.plans import plans_of

pytestmark = pytest.mark.django_db(transaction=True)
BUFFERS_MAX = 1000


def path_of(stock: Stock, verb: str = "") -> str:
    return f"/ops/stock/{stock.pk}/{verb + '/' if verb else ''}"


def seen_by(client: HttpClient, stock: Stock, verb: str) -> str:
    """What its form remembers."""
    return str(client.get(path_of(stock, verb)).context["seen"])


def test_who_may_look_counts_nothing(stock: Any, django_user_model: Any) -> None:
    sake = stock()
    assert log_in(django_user_model, "nobody").get("/ops/stock/").status_code == 403
    looker = log_in(django_user_model, "looker", "look")
    assert path_of(sake, "count") not in text(looker, path_of(sake))
    for path in (path_of(sake, "count"), "/ops/stock/new/"):
        assert looker.post(path, {"on_hand": "1", "sku": "X"}).status_code == 403, path
    assert (Stock.objects.count(), Stock.objects.get().on_hand) == (1, 100)


def test_goods_are_found_by_what_a_sku_or_name_begins_with(stock: Any, hana: HttpClient) -> None:
    sake, maguro = stock("SAKE-NIGIRI", 5, "鮭 にぎり"), stock("MAGURO", 9, "ｻｹ")
    for term in ("sake", "ＳＡＫＥ-ni", "鮭に"):
        assert hana.get("/ops/stock/", {"sku": term})["Location"] == path_of(sake), term
    assert hana.get("/ops/stock/", {"sku": "サケ"})["Location"] == path_of(maguro)
    both = text(hana, "/ops/stock/")
    assert both.index("MAGURO") < both.index("SAKE-NIGIRI")
    assert "Nothing begins with “100%_”" in text(hana, "/ops/stock/?sku=100%25_")


def test_what_is_low_stands_by_what_lacks_most(stock: Any, hana: HttpClient) -> None:
    for sku, on_hand, low_at in (("A", 5, 5), ("B", 1, 9), ("C", 9, 2)):
        stock(sku, on_hand)
        Stock.objects.filter(sku=sku).update(low_at=low_at)
    stock("UNCOUNTED", 0)
    Stock.objects.filter(sku="UNCOUNTED").update(low_at=1, counted=False)
    stock("GONE", 0)
    Stock.objects.filter(sku="GONE").update(low_at=1)
    Stock.objects.remove("GONE")
    rows = hana.get("/ops/stock/?low=on").context["goods"]
    assert [row.sku for row in rows] == ["B", "A"]
    belt = hana.get("/ops/").context["belt"]
    assert [row.sku for row in belt.low] == ["B", "A"]


def test_a_count_is_shown_before_it_is_made_and_leaves_its_rows(
    placed: Order, hana: HttpClient
) -> None:
    sake = Stock.objects.get()
    seen = seen_by(hana, sake, "count")
    page = hana.post(path_of(sake, "count"), {"look": "1", "on_hand": "90"}).content.decode()
    assert "100 → 90" in page
    assert Stock.objects.get().on_hand == 100
    assert hana.post(path_of(sake, "count"), {"seen": seen, "on_hand": "90"}).status_code == 302
    page = text(hana, path_of(sake))
    assert ("-10" in page, placed.number in page, "100 → 90" in page) == (True, True, True)
    row = StaffAction.objects.get()
    assert (row.verb, row.subject, row.who) == ("count", "stock SAKE-NIGIRI", "hana")
    assert (row.before["on_hand"], row.after["on_hand"]) == (100, 90)


def test_less_than_is_promised_is_refused_at_its_field(placed: Order, hana: HttpClient) -> None:
    sake = Stock.objects.get()
    for verb, fields, field in (
        ("count", {"on_hand": "1"}, "on_hand"),
        ("adjust", {"delta": "-99", "reason": "broken"}, "delta"),
        ("adjust", {"delta": "0", "reason": "broken"}, "delta"),
        ("adjust", {"delta": "5", "reason": "　"}, "reason"),
        ("describe", {"backorder_limit": "-1"}, "backorder_limit"),
        ("describe", {"backorder_limit": "0", "name": "a\x07b"}, "name"),
    ):
        answer = hana.post(path_of(sake, verb), {"seen": seen_by(hana, sake, verb), **fields})
        assert answer.status_code == 422, (verb, fields)
        assert list(answer.context["form"].errors) == [field], (verb, fields)
    answer = hana.post(path_of(sake, "take_out"), {"seen": seen_by(hana, sake, "take_out")})
    assert "2 of SAKE-NIGIRI are reserved for orders." in answer.content.decode()
    assert (Stock.objects.get().on_hand, StaffAction.objects.count()) == (100, 0)


def test_of_two_counts_at_once_one_wins_and_the_other_is_told_who_did(
    stock: Any, hana: HttpClient, ken: HttpClient
) -> None:
    sake = stock()
    form = {"seen": seen_by(hana, sake, "adjust"), "delta": "7", "reason": "a box"}
    answers = in_threads(lambda one: one.post(path_of(sake, "adjust"), form), [hana, ken])
    assert sorted(answer.status_code for answer in answers) == [302, 409]
    loser = next(answer for answer in answers if answer.status_code == 409)
    assert "The last person here was" in loser.content.decode()
    assert "107 → 114" in loser.content.decode()
    assert Stock.objects.get().on_hand == 107
    assert StockMovement.objects.filter(kind="adjusted").count() == 1


def test_new_goods_are_added_once(hana: HttpClient) -> None:
    form = {"sku": "おにぎり 1", "name": "梅", "on_hand": "3"}
    answers = [hana.post("/ops/stock/new/", form).status_code for _ in range(2)]
    assert answers == [302, 422]
    assert hana.post("/ops/stock/new/", {**form, "sku": " x"}).context["form"].errors["sku"]
    assert [(row.sku, row.on_hand) for row in Stock.objects.all()] == [("おにぎり 1", 3)]


def test_goods_that_were_taken_out_keep_their_page(stock: Any, hana: HttpClient) -> None:
    sake = stock()
    seen = {"seen": seen_by(hana, sake, "take_out")}
    assert hana.post(path_of(sake, "take_out"), seen).status_code == 302
    assert "taken out" in text(hana, path_of(sake))
    assert "These goods have been taken out." in text(hana, path_of(sake, "count"))
    assert "SAKE-NIGIRI" not in text(hana, "/ops/stock/").split("<main")[1]


def test_japanese_staff_read_japanese(placed: Order, hana: HttpClient) -> None:
    hana.cookies["django_language"] = "ja"
    sake = Stock.objects.get()
    for path in (
        "/ops/stock/",
        "/ops/stock/?low=on",
        "/ops/stock/new/",
        path_of(sake),
        path_of(sake, "describe"),
    ):
        page = text(hana, path)
        for english in ("On hand", "Stock", "Reserved", ">low<", "Back to", "All goods", "moved"):
            assert english not in page.split("<main")[1], (path, english)


def test_no_page_of_goods_looks_at_more_than_its_share(placed: Order, hana: HttpClient) -> None:
    sake = Stock.objects.get()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO orders_stock (sku, name, on_hand, reserved, low_at, told_low)"
            " SELECT 'SKU-' || n, '品 ' || n, n, 0, n % 7, 0 FROM generate_series(1, 20000) AS n"
        )
        cursor.execute(
            "INSERT INTO orders_stockmovement (stock_id, kind, on_hand_delta, reserved_delta)"
            " SELECT (SELECT min(id) + n % 10 FROM orders_stock), 'counted', 1, 0"
            " FROM generate_series(1, 100000) AS n"
        )
        cursor.execute("VACUUM ANALYZE orders_stock, orders_stockmovement")
    last = Stock.objects.get(sku="SKU-20000")
    paths = ("", "?sku=s", "?sku=品", "?sku=none", "?low=on", "?low=on&sku=s", "?after=SKU-2")
    for path in (*(f"/ops/stock/{path}" for path in paths), path_of(sake), path_of(last)):
        with override("en"):
            plans = plans_of(lambda path=path: hana.get(path))  # type: ignore[misc]
        looked_at = sum(plan.buffers for plan in plans)
        assert looked_at < BUFFERS_MAX, path
