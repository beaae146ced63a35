"""The figures on the staff pages: those of the API, drawn, in a table, as a file."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client as HttpClient
from django.utils import timezone

from celery_ledger.testing import work_off
from notifications.models import Event
from ops.report.views import Asked
from orders.models import Client, Order
from orders.reports import days
from tests.ops.browsing import log_in, text
from tests.postgres.plans import plans_of
from tests.shop.past_days import DAY, Sell, clock, give_back, sell  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db(transaction=True)
BUFFERS_MAX = 1000


def test_a_month_and_its_day_show_what_the_api_shows(
    sell: Sell,  # noqa: F811
    hana: HttpClient,
) -> None:
    give_back(sell(clock("09:30")), 160, clock("10:10"))
    other = Client.objects.create(name="another")
    sell(clock("20:00"), client=other)
    path = f"/ops/report/?when={DAY:%Y-%m}"
    assert "The workers are computing these figures." in text(hana, path)
    work_off()
    month = text(hana, path)
    for figure in ("¥1,320", "¥160", "¥1,160", 'class="bar"', f"{DAY}: ¥1,320", f"?when={DAY}&"):
        assert figure in month, figure
    assert "hx-trigger" not in month.split("<main")[1]  # it asks no more
    day = text(hana, f"/ops/report/?when={DAY}")
    assert ("09:00" in day, "SAKE-NIGIRI" in day, "¥1,320" in day) == (True, True, True)
    assert "¥1,320" not in text(hana, f"/ops/report/?when={DAY}&client={other.pk}")
    table = hana.get(f"/ops/report/csv/?when={DAY}")
    assert table["Content-Disposition"] == f'attachment; filename="report-{DAY}.csv"'
    assert f"total,{DAY},JPY,,,,,2,1320,160,1160" in table.content.decode()


def test_todays_sales_stand_on_the_first_page(placed: Order, hana: HttpClient) -> None:
    page = text(hana, "/ops/report/")
    assert "Today" in page
    assert page.count("¥660") >= 2


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        (Asked(date(2026, 4, 1), is_month=True, client=None), "2026-05"),
        (Asked(date(2026, 5, 1), is_month=True, client=None), ""),
        (Asked(date(2026, 4, 30), is_month=False, client=None), "2026-05-01"),
        (Asked(date(2026, 5, 1), is_month=False, client=None), ""),
    ],
)
def test_a_page_leads_to_what_comes_after_it_from_its_first_day_on(
    asked: Asked, after: str
) -> None:
    assert asked.around(date(2026, 5, 1))["after"] == after


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("when=yesterday", 422, "Name a day like"),
        ("when=2026-02-30", 422, "Name a day like"),
        ("when=2099-01", 404, "has not begun"),
        ("client=nobody", 422, "There is no such client."),
        ("client=01a22f3c-caea-76dc-84d2-05e4834fa871", 422, "There is no such client."),
    ],
)
def test_what_cannot_be_shown_is_said(
    hana: HttpClient, db: None, query: str, status: int, sentence: str
) -> None:
    for path in ("/ops/report/", "/ops/report/csv/"):
        assert sentence in text(hana, f"{path}?{query}", status), path


def test_who_may_not_look_reads_nothing_and_japanese_staff_read_japanese(
    placed: Order, hana: HttpClient, django_user_model: Any
) -> None:
    assert log_in(django_user_model, "nobody").get("/ops/report/").status_code == 403
    hana.cookies["django_language"] = "ja"
    for query in ("", f"?when={days.day_of(timezone.now())}", "?when=x", "?when=2001-01"):
        page = hana.get(f"/ops/report/{query}").content.decode().split("<main")[1]
        for english in ("Report", "Paid", "Orders", "Day", "Name", "Today", "As of", "Nothing"):
            assert english not in page, (query, english)


def test_a_busy_today_is_computed_by_jobs_and_a_page_stays_cheap(
    placed: Order, hana: HttpClient
) -> None:
    first = Event.objects.filter(kind="order.received").get()
    Event.objects.filter(pk=first.pk).update(at=timezone.now() - timedelta(days=70))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO notifications_event (id, subject, seq, kind, owner, at, data)"
            " SELECT gen_random_uuid(), gen_random_uuid(), 1, 'order.confirmed', owner, now(), data"
            " FROM notifications_event, generate_series(1, 5000) WHERE id = %s",
            [first.pk],
        )
        cursor.execute("VACUUM ANALYZE notifications_event")
    last_month = days.day_of(timezone.now()).replace(day=1) - timedelta(days=1)
    paths = ["/ops/report/", f"/ops/report/?when={last_month:%Y-%m}"]
    for path in paths:
        assert "The workers are computing these figures." in text(hana, path)
    work_off()
    for path in paths:
        plans = plans_of(lambda path=path: hana.get(path))  # type: ignore[misc]
        assert sum(plan.buffers for plan in plans) < BUFFERS_MAX, path
        assert "The workers are computing" not in text(hana, path)
