"""Every day is computed once, whoever was there at midnight and whatever died meanwhile."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab
from django.db import connection
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.models.schedule import Schedule
from celery_ledger.models.slots import next_slot
from celery_ledger.testing import attempt, work_off
from celery_ledger.worker.clock import Clock
from config import celery_app
from orders.reports import tasks
from orders.reports.days import Day, day_of
from orders.reports.models import Computation, DailyReport, HourFigure, SkuFigure
from tests.shop import Api
from tests.shop.past_days import DAY, Sell, clock, everybodys, totals

pytestmark = pytest.mark.django_db
PART = "orders.reports.tasks.compute_part"
ADD_UP = "orders.reports.tasks.add_up"


@pytest.fixture
def entry() -> dict[str, Any]:
    entry: dict[str, Any] = celery_app.conf.beat_schedule["daily-report"]
    return entry


def final_days() -> list[date]:
    return list(
        DailyReport.objects.filter(client=None, final=True)
        .order_by("day")
        .values_list("day", flat=True)
    )


# --- the schedule ---------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Europe/Berlin", "Africa/Cairo", "America/Havana"])
def test_each_date_has_one_slot_after_the_day_before_is_settled(
    settings: Any, entry: dict[str, Any], zone: str
) -> None:
    settings.TIME_ZONE = zone
    slots = crontab(hour=entry["schedule"]._orig_hour, minute=entry["schedule"]._orig_minute)
    slots.tz = ZoneInfo(zone)
    moment = datetime(2025, 1, 1, tzinfo=ZoneInfo(zone))
    found = [moment := next_slot(slots, moment) for _ in range(365)]
    assert [day_of(slot) for slot in found] == [
        date(2025, 1, 1) + timedelta(days=n) for n in range(365)
    ]
    assert all(Day(day_of(slot) - timedelta(days=1)).is_settled(slot) for slot in found)


def test_a_missed_midnight_is_made_up_for(sell: Sell) -> None:
    """The clock promises the slots that it finds due; the first of their jobs computes all that is
    missing.
    """
    today = day_of(timezone.now())
    days = [today - timedelta(days=ago) for ago in (3, 2, 1)]
    for day in (days[0], days[2]):
        sell(clock("12:00", day))
    Schedule.objects.create(name="daily-report", promised_until=Day(days[0]).end)
    Clock(celery_app, worker=uuid4(), name="test@here").scheduler.promise_due_slots()
    work_off()
    assert final_days() == days
    assert [totals(everybodys(day).figures) for day in days] == [
        {"JPY": (1, 660, 0, 660)},
        {},
        {"JPY": (1, 660, 0, 660)},
    ]
    assert Job.objects.filter(task=ADD_UP).count() == 3


def test_days_that_are_missing_are_found_and_no_others(sell: Sell, settings: Any) -> None:
    today = day_of(timezone.now())
    settings.REPORT_CATCH_UP_DAYS = 4
    tasks.compute_missing_days.delay()
    work_off()
    assert final_days() == []  # nothing has ever happened
    sell(clock("12:00", today - timedelta(days=9)))
    sell(clock("00:00", today))
    tasks.compute_missing_days.delay()
    tasks.compute_missing_days.delay()
    work_off()
    days = [today - timedelta(days=ago) for ago in (4, 3, 2, 1)]
    assert final_days() == days
    DailyReport.objects.filter(day=days[1]).delete()
    tasks.compute_missing_days.delay()
    work_off()
    assert (final_days(), Job.objects.filter(task=ADD_UP).count()) == (days, 5)


# --- one computation ------------------------------------------------------------------------------


def test_a_day_of_many_events_has_many_parts_and_one_report(sell: Sell, settings: Any) -> None:
    settings.REPORT_PART_EVENTS = 2
    for hour in range(5):
        sell(clock(f"1{hour}:00"))
    tasks.compute_day.delay(str(DAY))
    work_off()
    assert totals(everybodys().figures) == {"JPY": (5, 3300, 0, 3300)}
    assert Job.objects.filter(task=PART, state="done").count() > 2
    assert Job.objects.filter(task=ADD_UP, state="done").count() == 1
    assert (Computation.objects.count(), HourFigure.objects.count(), SkuFigure.objects.count()) == (
        0,
        0,
        0,
    )


@pytest.mark.parametrize("size", [2, 1000])
@pytest.mark.parametrize("broken", ["orders_hourfigure", "orders_dailyreport"])
def test_a_computation_that_dies_is_given_up_and_the_next_begins_anew(
    sell: Sell, settings: Any, size: int, broken: str
) -> None:
    settings.REPORT_PART_EVENTS = size
    for hour in range(3):
        sell(clock(f"1{hour}:00"))
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {broken} ADD CONSTRAINT broken CHECK (false) NOT VALID")
        tasks.promise(DAY)
        work_off()
        assert (Computation.objects.count(), final_days()) == (0, [])
        cursor.execute(f"ALTER TABLE {broken} DROP CONSTRAINT broken")
    tasks.promise(DAY)
    work_off()
    assert totals(everybodys().figures) == {"JPY": (3, 1980, 0, 1980)}


def test_one_that_takes_too_long_is_given_up_and_its_late_parts_say_nothing(
    sell: Sell, settings: Any
) -> None:
    sell(clock("12:00"))
    tasks.promise(DAY)
    attempt(Job.objects.get(task="orders.reports.tasks.divide"))
    late = Job.objects.get(task=PART)
    tasks.promise(DAY)
    assert (
        Computation.objects.count()
        == Job.objects.filter(task="orders.reports.tasks.divide").count()
        == 1
    )
    Computation.objects.update(
        promised_at=timezone.now() - settings.REPORT_PATIENCE - timedelta(minutes=1)
    )
    tasks.promise(DAY)
    attempt(late)
    assert HourFigure.objects.count() == 0
    work_off()
    assert totals(everybodys().figures) == {"JPY": (1, 660, 0, 660)}
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}


def test_figures_that_know_less_never_replace_those_that_know_more(sell: Sell) -> None:
    """Today's are under way at midnight and come in after the final ones."""
    sell(clock("12:00"))
    early = Computation.objects.begin(Day(DAY), clock("11:00"))
    assert early is not None
    tasks.promise(DAY)
    work_off()
    tasks.divide.delay(str(early.pk))
    work_off()
    assert (everybodys().final, totals(everybodys().figures)) == (True, {"JPY": (1, 660, 0, 660)})
    assert Computation.objects.count() == 0


def test_a_day_computed_again_under_another_time_zone_forgets_what_no_longer_belongs_to_it(
    api: Api, sell: Sell, settings: Any
) -> None:
    sell(clock("08:00"))  # 23:00 of the day before in UTC
    tasks.compute_day.delay(str(DAY))
    work_off()
    settings.TIME_ZONE = "UTC"
    assert api.get(f"/v1/reports/daily/{DAY}").json()["time_zone"] == "Asia/Tokyo"
    tasks.compute_day.delay(str(DAY))
    work_off()
    assert DailyReport.objects.get().figures == []
    report = api.get(f"/v1/reports/daily/{DAY}").json()
    assert (report["time_zone"], report["final"], report["currencies"]) == ("UTC", True, [])


def test_a_day_that_its_zone_left_out_is_empty(settings: Any, sell: Sell) -> None:
    settings.TIME_ZONE = "Pacific/Apia"
    sell(datetime(2011, 12, 30, 9, 59, tzinfo=UTC))
    tasks.compute_day.delay("2011-12-30")
    work_off()
    assert everybodys(date(2011, 12, 30)).figures == []


def test_in_another_time_zone_a_day_is_computed_anew(sell: Sell, settings: Any) -> None:
    """Also when it ends earlier there, so that what is kept reaches farther."""
    settings.TIME_ZONE = "America/New_York"
    sell(clock("12:00"))
    tasks.compute_day.delay(DAY.isoformat())
    work_off()
    assert totals(everybodys().figures) == {"JPY": (1, 660, 0, 660)}
    settings.TIME_ZONE = "Asia/Tokyo"
    for day in (DAY, DAY + timedelta(days=1)):
        tasks.compute_day.delay(day.isoformat())
        work_off()
    assert (everybodys().time_zone, totals(everybodys().figures)) == ("Asia/Tokyo", {})
    assert totals(everybodys(DAY + timedelta(days=1)).figures) == {"JPY": (1, 660, 0, 660)}
