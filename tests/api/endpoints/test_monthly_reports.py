"""A month is the sum of its days: for a client over HTTP, for all by `manage.py report`."""

import csv
import json
from collections.abc import Callable
from datetime import date
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from orders.models import Client
from tests.shop import Api
from tests.shop.past_days import Sell, clock, give_back, in_the_future, totals

pytestmark = pytest.mark.django_db
PATH = "/v1/reports/monthly/2025-11"
FIRST, MIDDLE, LAST, NEXT = (
    date(2025, 11, 1),
    date(2025, 11, 18),
    date(2025, 11, 30),
    date(2025, 12, 1),
)


@pytest.fixture
def month(sell: Sell) -> Client:
    """Orders at both ends of it, before and after, and another client's."""
    for day, time in (
        (date(2025, 10, 31), "23:59:59.999999"),
        (FIRST, "00:00"),
        (MIDDLE, "12:00"),
        (LAST, "23:59:59.999999"),
        (NEXT, "00:00"),
    ):
        last = sell(clock(time, day))
    give_back(last, 100, clock("12:00", LAST))
    sell(clock("12:00", MIDDLE), currency="EUR")
    other = Client.objects.create(name="other")
    sell(clock("12:00", MIDDLE), client=other)
    return other


def report(*arguments: str) -> str:
    out = StringIO()
    call_command("report", *arguments, stdout=out)
    return out.getvalue()


def test_a_month_is_computed_by_its_days_adds_them_up_and_is_read_as_csv_too(
    api: Api, month: Client
) -> None:
    answer = api.get(PATH)
    assert (answer.status_code, answer["Location"], "Retry-After" in answer) == (202, PATH, True)
    jobs = Job.objects.filter(task="orders.reports.tasks.divide").count()
    assert (jobs, api.get(PATH).status_code) == (30, 202)
    assert Job.objects.filter(task="orders.reports.tasks.divide").count() == jobs, "asked once"
    work_off()
    figures = api.get(PATH).json()
    assert (figures["month"], figures["final"], figures["time_zone"]) == (
        "2025-11",
        True,
        "Asia/Tokyo",
    )
    assert totals(figures["currencies"]) == {"EUR": (1, 660, 0, 660), "JPY": (3, 1980, 100, 1880)}
    yen = figures["currencies"][1]
    assert [day["date"] for day in yen["by_day"]] == [f"2025-11-{day:02}" for day in range(1, 31)]
    moved = {day["date"][8:]: day["net"] for day in yen["by_day"] if day["orders"]}
    assert moved == {"01": 660, "18": 660, "30": 560}
    answer = api.get(f"{PATH}.csv")
    assert answer["Content-Disposition"] == 'attachment; filename="monthly-2025-11.csv"'
    rows = list(csv.DictReader(StringIO(answer.content.decode())))
    assert len(rows) == 2 * (1 + 30)
    assert [(row["section"], row["date"], row["net"]) for row in rows[31:33]] == [
        ("total", "2025-11", "1880"),
        ("day", "2025-11-01", "660"),
    ]


@pytest.mark.soak
def test_all_clients_together_are_told_on_the_command_line(month: Client) -> None:
    with pytest.raises(CommandError, match="ask again"):
        report("2025-11")
    work_off()
    assert totals(json.loads(report("2025-11"))["currencies"])["JPY"] == (4, 2640, 100, 2540)
    assert totals(json.loads(report("2025-11-18"))["currencies"])["JPY"] == (2, 1320, 0, 1320)
    assert report("2025-11", "--csv").startswith("section,date,currency,hour")
    for wrong in ("2025-13", "2025-11-31", "november", f"{in_the_future():%Y-%m}"):
        with pytest.raises(CommandError):
            report(wrong)


def test_a_month_that_is_not_over_is_not_final(
    api: Api, sell: Sell, now_is: Callable[..., Any]
) -> None:
    sell(clock("12:00", MIDDLE))
    with now_is(clock("13:00", MIDDLE)):
        figures = api.get(PATH).json()
        assert (figures["final"], len(figures["currencies"][0]["by_day"])) == (False, 18)
        assert totals(figures["currencies"]) == {"JPY": (1, 660, 0, 660)}


@pytest.mark.parametrize(
    ("month", "status"),
    [("2025-13", 422), ("2025-1", 422), ("0000-01", 422), ("2025-11-18", 422), ("2099-01", 404)],
)
def test_what_is_no_month_is_refused(api: Api, month: str, status: int) -> None:
    answer = api.get(f"/v1/reports/monthly/{month}")
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["errors"][0]["pointer"] == "/path/month"
