"""Orders that were placed elsewhere: what a file says of them, and how they come into the book."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from celery_ledger.testing import work_off
from notifications.models import Delivery, Endpoint, Event, Shop
from notifications.oversight.audit import DELIVERIES
from orders.audit import MONEY, STOCK, broken
from orders.imports.models import Import
from orders.models import Client, Order, PaymentOperation, Stock
from orders.payments.sandbox_book import SandboxCharge
from orders.reports.days import Day
from orders.reports.models import Computation, DailyReport
from orders.reports.tasks import add_up, compute_missing_days, outdate
from tests.doubles.edges import WebhookSink
from tests.orders.imports.files import as_csv, as_ndjson, cells, faults
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
A_DAY = timedelta(days=1)
LAST_YEAR = "2025-11-24 09:00:00 +0900"
Import_ = Callable[..., dict[str, Any]]


def past(**changes: str) -> dict[str, str]:
    return {**cells(token=""), "paid_at": LAST_YEAR, **changes}


@pytest.fixture
def bring(api: Api) -> Import_:
    """Imports these rows and works all of it off; returns the import."""

    def bring_in(*rows: dict[str, str], query: str = "?quiet=true") -> dict[str, Any]:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        file = as_csv(rows, columns=columns)
        headers = {"Idempotency-Key": f"import-{Import.objects.count()}"}
        answer = api.post(f"/v1/imports{query}", file, "text/csv", headers=headers)
        assert answer.status_code == 202, answer.content
        work_off(ahead=A_DAY)
        read: dict[str, Any] = api.get(answer["Location"]).json()
        return read

    return bring_in


def dry_run(api: Api, *rows: dict[str, str]) -> dict[str, Any]:
    file = as_csv(rows, columns=list(rows[0]))
    headers = {"Idempotency-Key": "dry"}
    tried = api.post("/v1/imports?dry_run=true", file, "text/csv", headers=headers)
    assert tried.status_code == 200, tried.content
    read: dict[str, Any] = tried.json()
    return read


def timeline(order: Order) -> list[tuple[str, str]]:
    return [
        (event.kind.removeprefix("order."), event.at.astimezone(UTC).isoformat())
        for event in Event.objects.timeline(order.pk)
    ]


def test_a_paid_and_sent_order_is_in_the_book_as_of_then(bring: Import_, api: Api) -> None:
    """No card is charged, nothing is set aside, nobody is mailed, and the sku need not be known."""
    row = past(number="1001", placed_at="2025-11-23", fulfilled_at="2025/11/25 10:30")
    assert bring(row)["became"]["confirmed"] == 1
    order = Order.objects.get()
    assert (order.number, order.state, order.payment_state) == ("1001", "completed", "paid")
    assert (order.fulfilment_state, order.captured) == ("full", 660)
    assert timeline(order) == [
        ("received", "2025-11-22T15:00:00+00:00"),
        ("confirmed", "2025-11-24T00:00:00+00:00"),
        ("completed", "2025-11-25T01:30:00+00:00"),
    ]
    assert order.created_at == datetime(2025, 11, 22, 15, tzinfo=UTC)
    assert (Stock.objects.get().on_hand, Stock.objects.get().reserved) == (0, 0)
    assert (Delivery.objects.count(), SandboxCharge.objects.count()) == (0, 0)
    assert list(broken(MONEY | STOCK, limit=10)) == []


def test_a_date_without_an_offset_is_of_the_clients_own_time(
    bring: Import_, api: Api, shop: Client
) -> None:
    """Also in a dry run: in Berlin that day began eight hours later than here."""
    Shop.objects.change(shop.pk, {"time_zone": "Europe/Berlin"})
    row = past(placed_at="2025-11-24", paid_at="2025-11-24T07:30+09:00", fulfilled_at="2025-11-25")
    tried = dry_run(api, row)
    assert [error["reason"] for error in tried["errors"]] == ["is before placed_at"]
    assert bring({**row, "paid_at": "2025-11-24 00:30"})["became"]["refused"] == 0
    [(_, placed), (_, paid)] = timeline(Order.objects.get())[:2]
    assert (placed, paid) == ("2025-11-23T23:00:00+00:00", "2025-11-23T23:30:00+00:00")


def test_goods_that_were_taken_out_are_known_to_what_is_over_and_to_nothing_else(
    bring: Import_, api: Api, stock: Any
) -> None:
    stock()
    assert api.delete("/v1/stock/SAKE-NIGIRI").status_code == 204
    over = past(external_id="over", fulfilled_at="2025-11-25")
    rows = [over, past(external_id="open"), cells(external_id="new")]
    tried = dry_run(api, *rows)
    became = bring(*rows, query="")
    assert (tried["ok"], became["ok"]) == (1, 1)
    assert Order.objects.get().external_id == "over"
    assert {fault[3] for fault in faults()} == {"no such sku: SAKE-NIGIRI"}
    assert len(faults()) == 2
    assert api.get("/v1/stock").json()["data"] == []
    assert list(broken(MONEY | STOCK, limit=10)) == []


def test_of_the_past_nobody_need_be_known(bring: Import_) -> None:
    assert bring(past(email="", fulfilled_at="2025-11-25"), query="")["ok"] == 1
    assert (Order.objects.get().email, Delivery.objects.count()) == ("", 0)


def test_a_list_has_it_where_it_belongs_in_time(bring: Import_, api: Api, stock: Any) -> None:
    stock()
    bring(cells(external_id="today"), query="")
    bring(past(fulfilled_at="2025-11-25"), past(external_id="older", paid_at="2025-01-01"))
    listed = api.get("/v1/orders").json()["data"]
    assert [order["external_id"] for order in listed] == ["today", "o-1", "older"]
    recent = api.get("/v1/orders?created_after=2025-11-01T00:00:00Z").json()["data"]
    assert [order["external_id"] for order in recent] == ["today", "o-1"]


def test_what_is_still_to_be_sent_is_set_aside(bring: Import_, api: Api, stock: Any) -> None:
    """And goes its way from there; the customer hears of what happens here."""
    stock(on_hand=5)
    assert bring(past(quantity="2", fulfilled="1", fulfilled_at="2025-11-25"))["ok"] == 1
    order = Order.objects.get()
    assert (order.state, order.fulfilment_state, order.units_fulfilled) == (
        "confirmed",
        "partial",
        1,
    )
    assert [kind for kind, _ in timeline(order)] == [
        "received",
        "reserved",
        "confirmed",
        "fulfilled",
    ]
    assert (Stock.objects.get().on_hand, Stock.objects.get().reserved) == (5, 1)
    assert Delivery.objects.count() == 0
    assert post(api, f"/v1/orders/{order.pk}/cancel").status_code == 202
    work_off()
    order.refresh_from_db()
    assert (order.state, order.refunded) == ("completed", 330)
    assert (Stock.objects.get().on_hand, Stock.objects.get().reserved) == (5, 0)
    delivered = [delivery.event.kind for delivery in Delivery.objects.order_by("pk")]
    assert delivered == ["order.completed", "order.refunded"]
    assert list(broken(MONEY | STOCK, limit=10)) == []


def test_a_paid_one_whose_goods_are_not_there_is_sold_out_and_can_come_again(
    bring: Import_, stock: Any
) -> None:
    """No money of it came here."""
    stock(on_hand=1)
    assert bring(past())["became"]["sold_out"] == 1
    assert (Order.objects.get().captured, PaymentOperation.objects.count()) == (0, 0)
    stock(on_hand=2)
    assert bring(past())["became"]["confirmed"] == 1
    assert Order.objects.filter(external_id="o-1", captured=660).count() == 1
    assert list(broken(MONEY | STOCK, limit=10)) == []


def test_money_that_went_back_elsewhere_is_divided_and_what_is_left_can_be_refunded(
    bring: Import_, api: Api
) -> None:
    """As recorded only: nobody is asked for it."""
    back = json.dumps([{"amount": 200, "at": "2025-12-01"}, {"amount": 130, "at": "2026-01-05"}])
    row = past(fulfilled_at="2025-11-25", refunds=back, total="1320", shipping="660")
    assert bring(row)["became"]["confirmed"] == 1
    order = Order.objects.get()
    assert (order.refunded, order.payment_state) == (330, "partially_refunded")
    assert (order.lines.get().refunded, order.shipping_refunded) == (165, 165)
    assert [kind for kind, _ in timeline(order)][2:] == ["completed", "refunded", "refunded"]
    assert [
        refund["amount"] for refund in api.get(f"/v1/orders/{order.pk}/refunds").json()["data"]
    ] == [330]
    assert post(api, f"/v1/orders/{order.pk}/refunds", {"reason": "all of it"}).status_code == 202
    work_off()
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending, SandboxCharge.objects.count()) == (1320, 0, 0)
    assert list(broken(MONEY | STOCK, limit=10)) == []


def test_one_that_was_never_paid_is_no_failure_and_makes_way_for_nobody(bring: Import_) -> None:
    row = {**cells(token=""), "cancelled_at": LAST_YEAR, "reason": "expired"}
    for _ in range(2):
        result = bring(row)
        assert (result["ok"], result["failed"], result["became"]["cancelled"]) == (1, 0, 1)
        assert Order.objects.get().reason == "expired"
    assert timeline(Order.objects.get())[-1] == ("cancelled", "2025-11-24T00:00:00+00:00")


def test_money_that_came_after_the_end_counts_when_it_came(bring: Import_) -> None:
    back = json.dumps([{"amount": 660, "at": "2025-12-01"}])
    bring(past(cancelled_at="2025-11-01", reason="expired", refunds=back))
    order = Order.objects.get()
    assert (order.state, order.payment_state) == ("cancelled", "refunded")
    assert [kind for kind, _ in timeline(order)] == [
        "received",
        "cancelled",
        "refund_pending",
        "refunded",
    ]
    assert list(broken(MONEY | STOCK, limit=10)) == []


def test_a_file_of_the_past_twice_changes_nothing(bring: Import_) -> None:
    row = past(number="1001", fulfilled_at="2025-11-25")
    bring(row)
    before = (list(Order.objects.values()), Event.objects.count())
    assert bring(row)["ok"] == 1
    assert (list(Order.objects.values()), Event.objects.count()) == before


def test_a_number_is_of_one_order(bring: Import_, api: Api) -> None:
    """A dry run knows it too."""
    bring(past(number="1001", fulfilled_at="2025-11-25"))
    other = past(external_id="o-2", number="1001", fulfilled_at="2025-11-25")
    assert bring(other)["failed"] == 1
    fault = {"line": 2, "external_id": "o-2", "field": "number"}
    fault |= {"reason": "belongs to another order"}
    assert faults(Import.objects.latest("created_at")) == [tuple(fault.values())]
    file = as_csv([other], columns=list(other))
    headers = {"Idempotency-Key": "dry"}
    tried = api.post("/v1/imports?dry_run=true", file, "text/csv", headers=headers).json()
    assert tried["errors"] == [fault]


@pytest.mark.parametrize(
    ("row", "field", "says"),
    [
        (past(token="tok_ok"), "token", "must be blank: paid_at says"),
        (cells(), "token", "must be blank: with quiet=true no card is charged"),
        (past(paid_at="11/24/2025"), "paid_at", "must be a moment like 2026-01-31"),
        (past(paid_at="2025-13-01"), "paid_at", "must be a moment like"),
        (past(paid_at="2999-01-01"), "paid_at", "must lie between the year 2000 and now"),
        (past(paid_at="1999-01-01"), "paid_at", "must lie between"),
        (past(placed_at="2025-12-01"), "paid_at", "is before placed_at"),
        (past(fulfilled_at="2025-11-01"), "fulfilled_at", "needs a paid_at that is not after it"),
        (past(fulfilled="1"), "fulfilled_at", "goes with units that were fulfilled"),
        (past(fulfilled="3", fulfilled_at="2025-12-01"), "fulfilled", "more than the quantity"),
        (past(returned="1"), "returned", "is more than what was fulfilled"),
        (past(withdrawn="2"), "cancelled_at", "is missing, since all of its units are withdrawn"),
        (past(units_refunded="3"), "units_refunded", "is more than the quantity"),
        (past(refunded="661"), "refunded", "is more than the line comes to, 660"),
        (past(refunded="60"), "refunds", "come to 0, but lines and shipping were refunded 60"),
        (past(refunds='[{"amount": 661, "at": "2025-12-01"}]'), "refunds", "more than the total"),
        (past(refunds='[{"amount": -1, "at": "2025-12-01"}]'), "refunds", "come to less than 0"),
        (past(refunds='[{"amount": 1, "at": "2025-01-01"}]'), "refunds", "need a paid_at"),
        (past(refunds="100"), "refunds", "must be a list"),
        (past(refunds="[{"), "refunds", "must be JSON"),
        (past(refunds='[{"amount": 0.5, "at": "2025-12-01"}]'), "refunds", "whole number"),
        (past(shipping_refunded="1"), "shipping_refunded", "is more than the shipping"),
        (past(reason="why"), "reason", "goes with cancelled_at"),
        (past(number="10\u200b01"), "number", "ZERO WIDTH SPACE"),
        (past(method="card"), "token", "is missing"),
        (past(method="cheque"), "method", "must be 'card'"),
        (past(metadata="table"), "metadata", "must be JSON"),
        (past(shipping_country="Japan"), "shipping_country", "ISO 3166-1"),
    ],
)
def test_what_does_not_go_together_is_refused_by_its_column(
    bring: Import_, row: dict[str, str], field: str, says: str
) -> None:
    assert bring(row)["failed"] == 1
    found = [fault for fault in faults() if fault[2] == field]
    assert len(found) == 1, faults()
    assert says in found[0][3]
    assert Order.objects.count() == 0


def test_json_lines_say_the_same(api: Api, order_body: Callable[..., dict[str, Any]]) -> None:
    body = order_body(payment=..., paid_at=LAST_YEAR, fulfilled_at="2025-11-25", number="1001")
    bad = order_body(external_id="o-2", payment=..., paid_at=20251124)
    file = as_ndjson([body, bad])
    headers = {"Idempotency-Key": "k"}
    api.post("/v1/imports", file, "application/x-ndjson", headers=headers)
    work_off(ahead=A_DAY)
    assert [order.state for order in Order.objects.all()] == ["completed"]
    assert [fault[2] for fault in faults()] == ["/paid_at"]


def test_without_quiet_the_customer_and_the_endpoints_hear_of_it(
    bring: Import_, stock: Any, shop: Client, sink: WebhookSink
) -> None:
    """With it the endpoints only: programs have to know."""
    Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["order.confirmed"])
    stock()
    bring(past())
    assert [delivery.channel for delivery in Delivery.objects.all()] == ["webhook"]
    assert list(broken(DELIVERIES, limit=9)) == [], "nobody else was to be told"
    bring(past(external_id="o-2"), query="")
    mails = Delivery.objects.filter(channel="mail")
    assert {delivery.event.kind for delivery in mails} >= {"order.confirmed"}
    assert json.loads(sink.heard[0][1])["timestamp"].startswith("2025-11-24T00:00:00")


def test_a_step_of_it_that_dies_leaves_the_order_to_a_person(bring: Import_, stock: Any) -> None:
    """Who may mark it as paid once it is released."""
    stock()
    Stock.objects.update(reserved=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orders.imports.elsewhere.tasks._tell", lambda *args: 1 / 0)
        assert bring(past())["became"]["held"] == 1
    order = Order.objects.get()
    assert (order.state, order.hold_reason) == ("received", "reservation_failed")


def test_what_was_being_computed_meanwhile_is_kept_by_nobody(shop: Client) -> None:
    """It may have read the events of before."""
    day = date(2025, 11, 24)
    under_way = Computation.objects.begin(Day(day), timezone.now())
    assert under_way
    outdate.delay(day.isoformat(), day.isoformat())
    work_off()
    add_up.delay(str(under_way.pk))
    work_off()
    assert not DailyReport.objects.exists()


def test_a_day_whose_report_is_kept_is_computed_anew(
    bring: Import_, api: Api, stock: Any, settings: Any
) -> None:
    """And the staff is not mailed it twice."""
    settings.REPORT_EMAILS = ["staff@example.com"]
    yesterday = timezone.now() - timedelta(days=1)
    day = timezone.localtime(yesterday).date().isoformat()
    stock()
    bring(past(paid_at=(yesterday - timedelta(days=2)).isoformat()))
    compute_missing_days()
    work_off(ahead=A_DAY)
    reports = Event.objects.filter(kind="report.daily").count()
    assert reports
    assert api.get(f"/v1/reports/daily/{day}").json()["currencies"] == []
    assert DailyReport.objects.filter(day=day, final=True).exists()
    bring(past(external_id="o-2", paid_at=yesterday.isoformat(), fulfilled_at=""))
    assert api.get(f"/v1/reports/daily/{day}").status_code == 202
    work_off()
    [figures] = api.get(f"/v1/reports/daily/{day}").json()["currencies"]
    assert (figures["orders"], figures["gross"]) == (1, 660)
    assert Event.objects.filter(kind="report.daily").count() == reports
