"""Scheduled work: one job per slot, however many clocks there are and whenever they ran."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery import current_app as celery_app
from celery.schedules import crontab, schedule
from django.db import connection
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.models.schedule import Schedule, next_slot, slots
from celery_ledger.worker.clock import Clock
from tests.celery_ledger import tasks
from tests.hands import in_threads

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)  # in Tokyo
At = Callable[[datetime], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> At:
    """Set the time that the schedule sees."""

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
    """It asks Postgres what time it is."""
    ahead = timezone.now() + timedelta(hours=5)
    with monkeypatch.context() as patched:
        patched.setattr("django.utils.timezone.now", lambda: ahead)
        assert clock().scheduler.promise_due_slots() == 0
    assert Schedule.objects.get().promised_until < timezone.now()


def test_a_crontab_has_its_slots_in_the_shops_time_zone() -> None:
    morning = crontab(hour="4", minute="30", app=celery_app)
    assert next_slot(morning, NOON) == datetime(2026, 11, 22, 19, 30, tzinfo=UTC)
    found = list(slots(morning, after=NOON, until=NOON + timedelta(days=3)))
    assert [slot.day for slot in found] == [22, 23, 24]


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
