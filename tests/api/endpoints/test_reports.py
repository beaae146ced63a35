"""A client reads a day's figures of its own orders."""

import csv
import json
from collections.abc import Callable
from datetime import date, timedelta
from io import StringIO
from typing import Any

import pytest

from celery_ledger.models import Job
from celery_ledger.testing import attempt, work_off
from notifications.models import Event
from orders.models import ApiKey, Client, Order
from orders.reports.models import Computation
from orders.reports.tasks import compute_day
from tests.shop import Api
from tests.shop.past_days import DAY, Sell, by_hour, clock, give_back, in_the_future, totals
from values.csv_cells import harmless

pytestmark = pytest.mark.django_db
NowIs = Callable[..., Any]
PATH = f"/v1/reports/daily/{DAY}"
DIVIDE = "orders.reports.tasks.divide"


def read(api: Api, day: date = DAY) -> dict[str, Any]:
    """A past day, computed if need be."""
    answer = api.get(f"/v1/reports/daily/{day}")
    if answer.status_code == 202:
        work_off()
        answer = api.get(f"/v1/reports/daily/{day}")
    assert answer.status_code == 200, answer.content
    figures: dict[str, Any] = answer.json()
    return figures


def test_a_day_shows_its_orders_money_hours_and_goods(api: Api, sell: Sell) -> None:
    first = sell(clock("00:00"))
    sell(
        clock("09:59:59.999999"),
        total=1320,
        lines=[{"sku": "SAKE-NIGIRI", "quantity": 4, "unit_price": 330}],
    )
    sell(clock("10:00"), currency="EUR", shipping={"amount": 40})
    give_back(first, 160, clock("23:59:59.999999"))
    report = read(api)
    yen, euros = report["currencies"][1], report["currencies"][0]
    assert (report["date"], report["time_zone"], report["final"]) == (
        "2025-11-18",
        "Asia/Tokyo",
        True,
    )
    assert totals(report["currencies"]) == {"EUR": (1, 700, 0, 700), "JPY": (2, 1980, 160, 1820)}
    assert by_hour(yen) == {
        "00:00": (1, 660, 0, 660),
        "09:00": (1, 1320, 0, 1320),
        "23:00": (0, 0, 160, -160),
    }
    assert by_hour(euros) == {"10:00": (1, 700, 0, 700)}
    assert [len(yen["by_hour"]), yen["by_hour"][9]["hour"]] == [24, "2025-11-18T09:00:00+09:00"]
    assert yen["top_skus"] == [{"sku": "SAKE-NIGIRI", "name": "鮭", "quantity": 6, "amount": 1980}]
    assert euros["top_skus"] == [{"sku": "SAKE-NIGIRI", "name": "鮭", "quantity": 2, "amount": 660}]


def test_a_sku_that_was_sold_with_and_without_a_name_has_it(
    api: Api, sell: Sell, stock: Callable[..., Any]
) -> None:
    stock("TORO", name="")
    for name in ("Belly", ""):
        sell(clock("12:00"), lines=[{"sku": "TORO", "quantity": 1, "unit_price": 5, "name": name}])
    [yen] = read(api)["currencies"]
    assert yen["top_skus"] == [{"sku": "TORO", "name": "Belly", "quantity": 2, "amount": 10}]


@pytest.fixture
def order_body(order_body: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """With the total that its changes come to."""

    def body(**changes: Any) -> dict[str, Any]:
        order = order_body(**changes)
        lines = sum(
            line["quantity"] * line["unit_price"] + line.get("tax", 0) for line in order["lines"]
        )
        return {**order, "total": lines + order["shipping"].get("amount", 0)}

    return body


def test_an_order_counts_when_it_is_confirmed_and_money_when_it_moves(api: Api, sell: Sell) -> None:
    """Placed on the day before, confirmed on the day, refunded on the day after and once more the
    week after.
    """
    order = sell(clock("00:00"))
    Event.objects.filter(subject=order.pk, kind="order.received").update(
        at=clock("23:59:59", DAY - timedelta(days=1))
    )
    give_back(order, 100, clock("00:00", DAY + timedelta(days=1)))
    give_back(order, 560, clock("12:00", DAY + timedelta(days=7)))
    days = {ago: read(api, DAY + timedelta(days=ago))["currencies"] for ago in (-1, 0, 1, 7)}
    assert {ago: totals(figures) for ago, figures in days.items()} == {
        -1: {},
        0: {"JPY": (1, 660, 0, 660)},
        1: {"JPY": (0, 0, 100, -100)},
        7: {"JPY": (0, 0, 560, -560)},
    }


def test_orders_that_were_never_confirmed_do_not_count(api: Api, sell: Sell) -> None:
    assert sell(clock("12:00"), payment={"token": "tok_declined"}).state == "cancelled"
    short = [{"sku": "SAKE-NIGIRI", "quantity": 1000, "unit_price": 1}]
    assert sell(clock("12:00"), lines=short).state == "cancelled"
    assert read(api)["currencies"] == []


def test_an_order_that_costs_nothing_counts_as_an_order(api: Api, sell: Sell) -> None:
    sell(clock("12:00"), lines=[{"sku": "SAKE-NIGIRI", "quantity": 1, "unit_price": 0}])
    assert totals(read(api)["currencies"]) == {"JPY": (1, 0, 0, 0)}


def test_money_of_an_order_that_was_cancelled_meanwhile_comes_and_goes(
    api: Api, stock: Callable[..., Any], order_body: Callable[..., dict[str, Any]], settings: Any
) -> None:
    """The charge was made and not answered; it is found, and given back by itself."""
    stock()
    settings.PAYMENT_TIMEOUT_S = 0.01
    placed = api.place(order_body(payment={"token": "tok_timeout"})).json()
    for step in ("reserve", "charge"):
        attempt(Job.objects.get(task=f"orders.tasks.{step}"))
    api.post(
        f"{placed['links']['self']}/cancel",
        {"reason": "changed my mind"},
        content_type="application/json",
    )
    work_off(ahead=timedelta(hours=1))
    order = Order.objects.get()
    assert (order.state, order.captured, order.refunded) == ("cancelled", 660, 660)
    Event.objects.update(at=clock("12:00"))
    assert totals(read(api)["currencies"]) == {"JPY": (0, 660, 660, 0)}


def test_a_paid_order_that_is_cancelled_still_counts_and_its_money_goes_back(
    api: Api, sell: Sell
) -> None:
    order = sell(clock("12:00"))
    answer = api.post(
        f"/v1/orders/{order.pk}/cancel", {"reason": "closed"}, content_type="application/json"
    )
    assert answer.status_code == 202
    work_off()
    Event.objects.filter(kind__in=("order.cancelled", "order.refunded")).update(at=clock("15:00"))
    report = read(api)
    assert by_hour(report["currencies"][0]) == {
        "12:00": (1, 660, 0, 660),
        "15:00": (0, 0, 660, -660),
    }


def test_a_refund_over_http_is_in_the_report_once_it_has_succeeded(
    api: Api, sell: Sell, now_is: NowIs
) -> None:
    order = sell(clock("12:00"))
    answer = api.post(
        f"/v1/orders/{order.pk}/refunds",
        {"amount": 160, "reason": "late"},
        content_type="application/json",
        headers={"Idempotency-Key": "refund-1"},
    )
    assert answer.status_code == 202
    for refunds in (0, 160):
        with now_is(clock("13:00")):
            assert totals(api.get(PATH).json()["currencies"]) == {
                "JPY": (1, 660, refunds, 660 - refunds)
            }
        work_off()
        Event.objects.filter(kind="order.refunded").update(at=clock("12:30"))


def test_a_client_sees_its_own_orders_only(api: Api, sell: Sell) -> None:
    other = Client.objects.create(name="other")
    sell(clock("12:00"))
    for _ in range(2):
        sell(clock("12:00"), client=other)
    theirs = Api(ApiKey.objects.issue(other, []))
    strangers = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), ["reports:read"]))
    seen = [totals(read(one)["currencies"]) for one in (api, theirs, strangers)]
    assert seen == [{"JPY": (1, 660, 0, 660)}, {"JPY": (2, 1320, 0, 1320)}, {}]


def test_a_key_needs_the_scope(shop: Client, sell: Sell) -> None:
    for path in (PATH, f"{PATH}.csv"):
        assert Api(ApiKey.objects.issue(shop, ["orders:read"])).get(path).status_code == 403
        assert Api("wrong").get(path).status_code == 401
    assert Job.objects.filter(task=DIVIDE).count() == 0


@pytest.mark.parametrize("ending", ["", ".csv"])
@pytest.mark.parametrize(
    "day",
    [
        "2025-13-01",
        "2025-02-29",
        "20251118",
        "today",
        "0000-00-00",
        "2025-11-18T00:00",
        "%D9%A2025-11-18",
    ],
)
def test_what_is_no_date_is_refused_by_name(api: Api, day: str, ending: str) -> None:
    answer = api.get(f"/v1/reports/daily/{day}{ending}")
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
    assert answer.json()["errors"] == [
        {"pointer": "/path/day", "message": "must be a date like 2026-11-24"}
    ]


@pytest.mark.parametrize("ending", ["", ".csv"])
def test_of_a_day_that_has_not_begun_there_is_no_report(
    api: Api, sell: Sell, now_is: NowIs, ending: str
) -> None:
    sell(clock("12:00"))
    for day in (in_the_future(), date.max):
        answer = api.get(f"/v1/reports/daily/{day}{ending}")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
        assert "has not begun in the shop's time zone" in answer.json()["detail"]
    tomorrow = f"/v1/reports/daily/{DAY + timedelta(days=1)}{ending}"
    with now_is(clock("23:59:59")):
        assert api.get(tomorrow).status_code == 404
    with now_is(clock("00:00", DAY + timedelta(days=1))):
        assert api.get(tomorrow).status_code == 200
    assert Computation.objects.count() == 0


def test_days_before_anything_happened_are_empty_and_cost_nothing(api: Api, sell: Sell) -> None:
    assert api.get("/v1/reports/daily/2024-01-01").json()["currencies"] == []
    sell(clock("12:00"))
    for day in (date.min, DAY - timedelta(days=1)):
        report = api.get(f"/v1/reports/daily/{day}").json()
        assert (report["date"], report["final"], report["currencies"]) == (
            day.isoformat(),
            True,
            [],
        )
    assert Computation.objects.count() == 0


# --- when it is computed --------------------------------------------------------------------------


def test_a_past_day_is_promised_once_and_then_kept(
    api: Api, sell: Sell, django_assert_num_queries: Any
) -> None:
    sell(clock("12:00"))
    for path in (PATH, f"{PATH}.csv", PATH):
        answer = api.get(path)
        assert (answer.status_code, answer["Location"], answer["Retry-After"]) == (202, path, "2")
        assert answer.json() == {"state": "computing"}
    assert Job.objects.filter(task=DIVIDE).count() == 1
    work_off()
    with django_assert_num_queries(3):  # the key, whether there is anything, the report
        assert api.get(PATH).status_code == 200
    assert (Job.objects.filter(task=DIVIDE).count(), Computation.objects.count()) == (1, 0)


def test_a_past_day_changes_only_when_it_is_computed_again(api: Api, sell: Sell) -> None:
    sell(clock("12:00"))
    before = read(api)
    sell(clock("13:00"))
    assert read(api) == before
    compute_day.delay(str(DAY))
    work_off()
    assert totals(read(api)["currencies"]) == {"JPY": (2, 1320, 0, 1320)}


def test_today_is_as_it_is_now(api: Api, sell: Sell, now_is: NowIs) -> None:
    sell(clock("09:00"))
    sell(clock("12:00"))
    with now_is(clock("11:59")):
        report = api.get(PATH).json()
    assert (report["final"], totals(report["currencies"])) == (False, {"JPY": (1, 660, 0, 660)})
    with now_is(clock("12:01")):
        assert totals(api.get(PATH).json()["currencies"]) == {"JPY": (2, 1320, 0, 1320)}
    assert Computation.objects.count() == 0


def test_a_busy_today_is_computed_by_jobs_and_fresh_for_a_while(
    api: Api, sell: Sell, now_is: NowIs, settings: Any
) -> None:
    settings.REPORT_AT_ONCE_EVENTS = 2
    sell(clock("09:00"))
    with now_is(clock("12:01")):
        assert [api.get(PATH).status_code for _ in range(3)] == [202, 202, 202]
    work_off()
    sell(clock("11:00"))
    with now_is(clock("12:09")):
        report = api.get(PATH).json()
    assert (report["final"], report["as_of"]) == (False, "2025-11-18T03:00:00+00:00")
    assert totals(report["currencies"]) == {"JPY": (1, 660, 0, 660)}
    with now_is(clock("12:10")):
        assert api.get(PATH).status_code == 202
    work_off()
    with now_is(clock("12:10")):
        assert totals(api.get(PATH).json()["currencies"]) == {"JPY": (2, 1320, 0, 1320)}
    assert totals(read(api)["currencies"]) == {"JPY": (2, 1320, 0, 1320)}
    assert read(api)["final"]


def test_just_after_midnight_yesterday_is_not_final(api: Api, sell: Sell, now_is: NowIs) -> None:
    sell(clock("23:59:59"))
    sell(clock("00:00:30", DAY + timedelta(days=1)))
    with now_is(clock("00:01:59", DAY + timedelta(days=1))):
        report = api.get(PATH).json()
    assert (report["final"], totals(report["currencies"])) == (False, {"JPY": (1, 660, 0, 660)})


def test_what_was_computed_at_midnight_is_not_taken_for_the_whole_day(
    api: Api, sell: Sell, now_is: NowIs, settings: Any
) -> None:
    """An event of the day's last seconds may commit after midnight."""
    settings.REPORT_AT_ONCE_EVENTS = 2
    sell(clock("09:00"))
    with now_is(clock("00:01", DAY + timedelta(days=1))):
        assert api.get(PATH).status_code == 202
    work_off()
    sell(clock("23:59:55"))
    with now_is(clock("00:02", DAY + timedelta(days=1))):
        assert api.get(PATH).status_code == 202
    assert totals(read(api)["currencies"]) == {"JPY": (2, 1320, 0, 1320)}


def test_nobody_can_cancel_a_computation_that_others_wait_for(api: Api, sell: Sell) -> None:
    sell(clock("12:00"))
    api.get(PATH)
    job = Job.objects.get(task=DIVIDE)
    assert (job.context.get("client"), "request_id" in job.context) == (None, True)
    assert api.post(f"/v1/jobs/{job.pk}/cancel").status_code == 404


# --- CSV ------------------------------------------------------------------------------------------


def test_the_csv_says_the_same_in_one_table(api: Api, sell: Sell) -> None:
    order = sell(
        clock("09:30"),
        lines=[{"sku": "SAKE-NIGIRI", "name": '鮭, "large"', "quantity": 1, "unit_price": 500}],
    )
    give_back(order, 600 - 500, clock("09:40"))
    read(api)
    answer = api.get(f"{PATH}.csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert answer["Content-Disposition"] == 'attachment; filename="daily-2025-11-18.csv"'
    lines = answer.content.decode().split("\r\n")
    assert lines[0] == "section,date,currency,hour,sku,name,quantity,orders,gross,refunds,net"
    assert lines[1] == "total,2025-11-18,JPY,,,,,1,500,100,400"
    assert lines[11] == "hour,2025-11-18,JPY,2025-11-18T09:00:00+09:00,,,,1,500,100,400"
    assert lines[26:] == ['sku,2025-11-18,JPY,,SAKE-NIGIRI,"鮭, ""large""",1,,500,,', ""]
    assert "\n" not in "".join(lines)
    assert [row["section"] for row in csv.DictReader(StringIO(answer.content.decode()))] == [
        "total",
        *["hour"] * 24,
        "sku",
    ]


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@A1", " =1", "\uff1d1", '=HYPERLINK("http://x")']
)
def test_a_spreadsheet_computes_nothing_of_what_customers_write(
    api: Api, sell: Sell, stock: Callable[..., Any], name: str
) -> None:
    stock("=2+2", 10)
    sell(clock("09:30"), lines=[{"sku": "=2+2", "name": name, "quantity": 1, "unit_price": 500}])
    report = read(api)
    assert report["currencies"][0]["top_skus"][0]["name"] == name
    row = list(csv.DictReader(StringIO(api.get(f"{PATH}.csv").content.decode(), newline="")))[-1]
    assert (row["sku"], row["name"]) == ("'=2+2", f"'{name}")


@pytest.mark.parametrize("name", ["\t=1", "\r=1", "\n=1", "\tEBI"])
def test_a_name_from_before_control_characters_were_refused_computes_nothing_either(
    name: str,
) -> None:
    assert harmless(name) == f"'{name}"


def test_the_answer_is_json_with_text_as_it_is_written(api: Api, sell: Sell) -> None:
    sell(clock("12:00"))
    read(api)
    answer = api.get(PATH)
    assert answer["Content-Type"] == "application/json"
    assert "鮭" in answer.content.decode()
    assert json.loads(answer.content)["currencies"][0]["currency"] == "JPY"
