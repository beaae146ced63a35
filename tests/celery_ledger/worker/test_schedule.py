"""Scheduled work: one job per slot, however many clocks there are and whenever they ran."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from celery import current_app as celery_app
from celery.schedules import BaseSchedule, crontab, schedule, solar
from django.db import connection
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.models.schedule import Schedule
from celery_ledger.models.slots import next_slot, slots
from celery_ledger.worker.clock import Clock
from tests.celery_ledger import tasks
from tests.postgres.hands import in_threads

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)  # in Tokyo
At = Callable[[datetime], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> At:
    """A function that sets the time that schedules read."""

    def tell(moment: datetime) -> None:
        monkeypatch.setattr("celery_ledger.models.schedule.now", lambda: moment)
        monkeypatch.setattr("celery_ledger.worker.scheduler.timezone.now", lambda: moment)

    return tell


@pytest.fixture
def entry() -> Iterator[dict[str, Any]]:
    entry: dict[str, Any] = {
        "task": "tests.celery_ledger.tasks.add",
        "schedule": 60.0,
        "args": (1, 1),
    }
    before = celery_app.conf.beat_schedule
    celery_app.conf.beat_schedule = {"every-minute": entry}
    yield entry
    celery_app.conf.beat_schedule = before


def clock() -> Clock:
    return Clock(celery_app, worker=uuid4(), name="test@here")


def test_a_worker_whose_clock_runs_ahead_passes_over_no_slot(
    entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is asked of Postgres."""
    ahead = timezone.now() + timedelta(hours=5)
    with monkeypatch.context() as patched:
        patched.setattr("django.utils.timezone.now", lambda: ahead)
        assert clock().scheduler.promise_due_slots() == 0
    assert Schedule.objects.get().promised_until < timezone.now()


def test_a_crontab_has_its_slots_in_the_shops_time_zone() -> None:
    morning = crontab(hour="4", minute="30", app=celery_app)
    assert next_slot(morning, NOON) == datetime(2026, 11, 22, 19, 30, tzinfo=UTC)
    found = list(slots(morning, after=NOON, until=NOON + timedelta(days=3), limit=9))
    assert [slot.day for slot in found] == [22, 23, 24]


def moments_of(entry: crontab, start: datetime, hours: int) -> list[datetime]:
    """The slots of this crontab, found in another way than by the code: each minute is looked at.

    A minute matches by the wall time that clocks show then (perhaps for the second time), or that
    they would show if they had not been set forward.
    """
    each_hour, found = len(entry.hour) == 24, []
    for minute in range(1, hours * 60 + 1):
        moment = start + timedelta(minutes=minute)
        wall = moment.astimezone(entry.tz)
        walls = [wall] if each_hour or not wall.fold else []
        before = (moment - timedelta(hours=3)).astimezone(entry.tz).utcoffset()
        late = (moment + before).replace(tzinfo=entry.tz)  # type: ignore[operator]
        is_in_a_gap = late.astimezone(UTC).astimezone(entry.tz).replace(tzinfo=None) != (
            late.replace(tzinfo=None)
        )
        if is_in_a_gap and late.astimezone(UTC) == moment and not each_hour:
            walls.append(late)
        if any(wall.hour in entry.hour and wall.minute in entry.minute for wall in walls):
            found.append(moment)
    return found


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
        ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("Antarctica/Troll", datetime(2026, 10, 25, 1, tzinfo=UTC)),
        ("Asia/Tokyo", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ],
)
def test_a_crontab_passes_over_no_slot_and_repeats_none_while_clocks_are_changed(
    zone: str, change: datetime
) -> None:
    chance = random.Random(f"{zone} {change}")
    for _ in range(25):
        hour = chance.choice(["*", "*/2", "1", "2", "3", "0,2,3", "1-4"])
        minute = chance.choice(["0", "30", "*/15", "5,35", "59", "*/20"])
        entry = crontab(hour=hour, minute=minute, app=celery_app)
        entry.tz = ZoneInfo(zone)
        start = change - timedelta(hours=6, minutes=chance.randrange(60))
        expected = moments_of(entry, start, hours=12)
        until = start + timedelta(hours=12)
        assert list(slots(entry, after=start, until=until, limit=999)) == expected, (hour, minute)
        somewhere = start + timedelta(minutes=chance.randrange(500))  # as an entry that is new
        following = [slot for slot in expected if slot > somewhere]
        assert next_slot(entry, somewhere) in (following[:1] or [next_slot(entry, until)])


class EachMoonrise(BaseSchedule):  # type: ignore[misc]
    """A schedule of the project's own says when it is due, as `solar` does."""

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        now: datetime = self.now()
        return datetime.combine(last_run_at.date() + timedelta(days=1), time(7), UTC) - now


def test_any_other_schedule_is_asked() -> None:
    moonrise = EachMoonrise(app=celery_app)
    assert next_slot(moonrise, NOON) == datetime(2026, 11, 23, 7, tzinfo=UTC)


def test_a_sunset_is_the_same_for_every_clock() -> None:
    sunset = solar("sunset", 35.7, 139.7, app=celery_app)
    slot = next_slot(sunset, NOON)
    assert abs(slot - datetime(2026, 11, 22, 7, 30, tzinfo=UTC)) < timedelta(minutes=5)
    assert next_slot(sunset, slot) - slot > timedelta(hours=23)


@pytest.mark.parametrize("seconds", [0, -5])
def test_an_interval_of_nothing_is_no_schedule(seconds: float) -> None:
    with pytest.raises(ValueError, match="longer than"):
        next_slot(schedule(seconds, app=celery_app), NOON)


def test_an_interval_has_its_slots_on_a_grid_that_all_clocks_share() -> None:
    every = schedule(90.0, app=celery_app)
    for seconds in range(0, 90, 7):
        assert next_slot(every, NOON + timedelta(seconds=seconds)) == NOON + timedelta(seconds=90)


def test_five_clocks_promise_one_job_per_slot(set_clock: At, entry: dict[str, Any]) -> None:
    clocks = [clock() for _ in range(5)]
    for minutes in range(4):
        set_clock(NOON + timedelta(minutes=minutes, seconds=1))
        in_threads(lambda one: one.scheduler.promise_due_slots(), clocks, hands=5)
    assert Job.objects.count() == 3  # an entry that is new begins now
    assert set(Job.objects.values_list("task", flat=True)) == {"tests.celery_ledger.tasks.add"}


@pytest.mark.parametrize(("catch_up", "jobs"), [("all", 10), ("latest", 1), ("none", 0)])
def test_slots_that_nobody_was_there_for_are_caught_up_as_configured(
    set_clock: At, entry: dict[str, Any], catch_up: str, jobs: int
) -> None:
    entry["catch_up"], entry["schedule"] = catch_up, 600.0
    set_clock(NOON + timedelta(seconds=1))
    clock().scheduler.promise_due_slots()
    set_clock(NOON + timedelta(minutes=105))
    assert clock().scheduler.promise_due_slots() == jobs
    assert clock().scheduler.promise_due_slots() == 0
    assert Job.objects.count() == jobs


def test_between_slots_postgres_is_not_asked(
    set_clock: At, entry: dict[str, Any], django_assert_num_queries: Any
) -> None:
    one = clock()
    set_clock(NOON + timedelta(seconds=1))
    one.scheduler.promise_due_slots()
    with django_assert_num_queries(0):
        one.scheduler.promise_due_slots()
    assert Schedule.objects.get().name == "every-minute"
    connection.close()


def test_an_entry_that_cannot_be_promised_stops_neither_the_others_nor_the_bells(
    entry: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    celery_app.conf.beat_schedule = {"bad": {**entry, "args": ("x" * 20_000,)}, "good": entry}
    tasks.note.delay("a")
    Job.objects.update(ring_at=timezone.now() - timedelta(hours=1))
    ticking = clock()
    ticking.tick()
    Schedule.objects.update(promised_until=timezone.now() - timedelta(hours=1))
    ticking = clock()
    ticking.tick()
    ticking.tick()
    assert Job.objects.filter(task="tests.celery_ledger.tasks.add").count() == 1
    assert Job.objects.get(task=tasks.note.name).rings == 1
    assert [record.args for record in caplog.records if record.levelname == "ERROR"] == [("bad",)]
