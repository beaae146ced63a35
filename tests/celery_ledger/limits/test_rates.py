"""Rate limits are kept by Postgres, for all workers together."""

from datetime import timedelta

import pytest
from celery import current_app as celery_app
from django.utils import timezone
from redis import Redis

from celery_ledger.models import Job, Rate
from celery_ledger.publishing.limits import pause_s
from celery_ledger.testing import attempt, work_off
from tests.celery_ledger import tasks
from tests.postgres.hands import in_threads

pytestmark = pytest.mark.django_db(transaction=True)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def one_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.add, "rate_limit", "1/m")


def test_each_job_waits_for_a_slot_of_its_own_whoever_hears_its_bell(broker: Redis) -> None:
    for number in range(4):
        tasks.add.delay(number, 0)
    in_threads(attempt, list(Job.objects.all()), hands=4)
    assert Job.objects.filter(state="done").count() == 1
    done, *waiting = Job.objects.order_by("due_at")
    assert done.started_at is not None
    assert [round((later.due_at - done.started_at) / MINUTE) for later in waiting] == [1, 2, 3]
    assert all(later.ring_at == later.due_at == later.slot_at for later in waiting)


def test_doubled_and_early_bells_take_no_further_slot() -> None:
    first, second = tasks.add.delay(1, 1), tasks.add.delay(2, 2)
    for id_ in (first.id, first.id, second.id, second.id, second.id):
        attempt(Job.objects.get(pk=id_))
    assert Rate.objects.get().next_at < timezone.now() + 2 * MINUTE
    assert (first.state, second.state) == ("SUCCESS", "PENDING")


def test_a_job_whose_slot_has_come_begins_and_a_retry_takes_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks.come_back_once, "rate_limit", "1/m")
    tasks.come_back_once.delay("first")
    waits = tasks.come_back_once.delay("a")
    for job in Job.objects.order_by("created_at"):
        attempt(job)
    for _ in range(2):  # its slot has come; after its retry, it waits for another one
        Job.objects.filter(pk=waits.id).update(due_at=timezone.now() - timedelta(seconds=1))
        attempt(Job.objects.get(pk=waits.id))
    job = Job.objects.get(pk=waits.id)
    assert (job.state, job.attempts, job.retries) == ("waiting", 1, 1)
    assert job.slot_at is not None
    assert job.slot_at > timezone.now() + MINUTE
    work_off(ahead=timedelta(hours=1))
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}


def test_tasks_do_not_share_their_slots() -> None:
    tasks.add.delay(1, 1)
    tasks.speak.delay(1)
    work_off()
    assert Job.objects.filter(state="done").count() == 2


@pytest.mark.parametrize(
    ("limit", "seconds"), [("10/s", 0.1), ("6/m", 10), ("2/h", 1800), (4, 0.25), ("0.5/s", 2)]
)
def test_celerys_ways_to_write_a_rate(limit: str | float, seconds: float) -> None:
    assert pause_s(limit) == pytest.approx(seconds)


def test_celery_itself_holds_no_bells_back() -> None:
    assert celery_app.conf.worker_disable_rate_limits is True
