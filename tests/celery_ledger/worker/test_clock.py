import json
import os
import signal
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import chain
from celery import current_app as celery_app
from django.utils import timezone
from pytest_django.fixtures import Settings
from redis import Redis

from celery_ledger import context
from celery_ledger.conf import ledger_settings
from celery_ledger.models import Chord, Group, Job, Worker
from celery_ledger.operations import interventions
from celery_ledger.publishing.queues import bulk
from celery_ledger.testing import work_off
from celery_ledger.worker.clock import Clock, ClockThread
from tests.celery_ledger import tasks
from tests.celery_ledger.errors import error_of
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
LEASE = timedelta(seconds=40)
LONG_AGO = timedelta(hours=1)
TIME_LEAPS = {"LOW_WATER_LAG_S": 0, "LOW_WATER_WHOLE_S": 0}  # backwards, which it does nowhere else


@pytest.fixture
def clock() -> Clock:
    clock = Clock(celery_app, worker=uuid4(), name="test@here")
    clock.heartbeat.beat()
    return clock


def claimed(*, worker: UUID | None = None, pid: int = 1, losses: int = 0, **options: object) -> Job:
    """A job that is claimed and not settled."""
    id_ = UUID(tasks.add.apply_async((1, 1), **options).id)
    Job.objects.filter(pk=id_).update(losses=losses)
    Job.objects.claim(
        [id_],
        task="tests.celery_ledger.tasks.add",
        token=uuid4(),
        worker=worker,
        pid=pid,
        lease=LEASE,
    )
    return Job.objects.get(pk=id_)


def test_a_job_past_its_lease_waits_again_and_the_loss_is_counted(
    clock: Clock, settings: Any
) -> None:
    settings.LEDGER = {**settings.LEDGER, **TIME_LEAPS}
    job = claimed()
    assert clock.rescuer.rescue() == 0
    Job.objects.update(lease_until=timezone.now() - LONG_AGO)
    assert clock.rescuer.rescue() == 1
    job.refresh_from_db()
    assert (job.state, job.losses, job.lease_until) == ("waiting", 1, None)
    work_off()
    job.refresh_from_db()
    assert (job.state, job.result, job.attempts) == ("done", 2, 2)


def test_jobs_of_a_silent_worker_are_rescued_and_those_of_a_living_one_are_not(
    clock: Clock,
) -> None:
    silent, living = uuid4(), uuid4()
    Worker.objects.beat(silent, name="silent", pid=1)
    Worker.objects.beat(living, name="living", pid=1)
    Worker.objects.filter(pk=silent).update(seen_at=timezone.now() - timedelta(seconds=16))
    lost, running = claimed(worker=silent), claimed(worker=living)
    assert clock.rescuer.rescue() == 1
    assert set(Job.objects.values_list("pk", "state")) == {
        (lost.pk, "waiting"),
        (running.pk, "running"),
    }


def test_after_a_gap_in_its_own_beats_a_clock_gives_the_others_time_to_beat(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres was away for all workers, so no job is lost."""
    other = uuid4()
    Worker.objects.beat(other, name="other", pid=1)
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=2))
    claimed(worker=other)
    assert clock.heartbeat._beat_at is not None
    clock.heartbeat._beat_at -= 120
    clock.tick()
    assert Job.objects.get().state == "running"
    monkeypatch.setattr(clock.heartbeat, "patient_until", 0.0)
    clock.tick()
    assert Job.objects.get().state == "waiting"


def test_a_job_that_cost_three_workers_is_dead_and_its_errback_is_promised(clock: Clock) -> None:
    job = claimed(losses=2, link_error=tasks.note.s())
    Job.objects.update(lease_until=timezone.now() - LONG_AGO)
    clock.rescuer.rescue()
    job.refresh_from_db()
    assert (job.state, job.losses, error_of(job)["type"]) == ("dead", 3, "Lost")
    assert Job.objects.get(task="tests.celery_ledger.tasks.note").args[0] == [str(job.pk)]


def test_who_of_many_took_their_process_down_is_not_known_and_none_of_them_dies(
    clock: Clock,
) -> None:
    one, another = uuid4(), uuid4()
    beside = [claimed(worker=one, pid=1, losses=2) for _ in range(2)]
    alone = [claimed(worker=one, pid=2, losses=2), claimed(worker=another, pid=1, losses=2)]
    clock.rescuer.rescue()
    now = {job.pk: (job.state, job.losses, job.shared_losses) for job in Job.objects.all()}
    assert [now[job.pk] for job in beside] == [("waiting", 2, 1)] * 2
    assert [now[job.pk] for job in alone] == [("dead", 3, 0)] * 2


def test_where_none_can_be_made_alone_a_job_that_takes_its_process_down_dies_too(
    clock: Clock,
) -> None:
    """In a pool of threads all jobs share one process, so none can be made alone."""
    one = uuid4()
    poison, other = (claimed(worker=one, pid=1) for _ in range(2))
    Job.objects.filter(pk=poison.pk).update(shared_losses=2, losses=2)
    clock.rescuer.rescue()
    poison.refresh_from_db()
    other.refresh_from_db()
    assert (poison.state, poison.losses, poison.shared_losses) == ("dead", 3, 2)
    assert (other.state, other.losses, other.shared_losses) == ("waiting", 0, 1)


def test_the_job_of_a_dead_child_is_given_back_at_once_and_that_of_a_living_child_is_not(
    clock: Clock,
) -> None:
    children = [fork_a_sleeper(), fork_a_sleeper()]
    try:
        lost, running = (claimed(worker=clock.worker, pid=pid) for pid in children)
        assert clock.rescuer.rescue_from_lost_children() == 0
        os.kill(children[0], signal.SIGKILL)
        os.waitid(os.P_PID, children[0], os.WEXITED | os.WNOWAIT)
        assert clock.rescuer.rescue_from_lost_children() == 1
        assert set(Job.objects.values_list("pk", "state")) == {
            (lost.pk, "waiting"),
            (running.pk, "running"),
        }
    finally:
        os.kill(children[1], signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)


def fork_a_sleeper() -> int:
    return os.posix_spawnp("sleep", ["sleep", "60"], os.environ)


def test_a_stopped_worker_gives_its_jobs_back_and_that_is_no_loss(clock: Clock) -> None:
    claimed(worker=clock.worker)
    clock.rescuer.leave()
    assert (Job.objects.get().state, Job.objects.get().losses, Worker.objects.count()) == (
        "waiting",
        0,
        0,
    )


def test_unheard_jobs_are_rung_again_ever_more_rarely(clock: Clock, broker: Redis) -> None:
    tasks.add.delay(1, 1)
    broker.flushdb()
    assert clock.ringer.ring() == 0  # its first bell may still be on its way
    broker.lpush("kaiten", "another bell")
    pauses = []
    for _ in range(4):
        Job.objects.update(ring_at=timezone.now() - timedelta(seconds=1))
        assert clock.ringer.ring() == 1
        pauses.append(round((Job.objects.get().ring_at - timezone.now()).total_seconds()))
    assert pauses == [10, 20, 40, 80]
    assert broker.llen("kaiten") == 5


def test_an_empty_queue_has_lost_the_bells_of_what_is_due(clock: Clock, broker: Redis) -> None:
    """Whatever their back-off is: after a flush, jobs must not wait for minutes."""
    tasks.add.delay(1, 1)
    late = timezone.now() - timedelta(seconds=6)
    Job.objects.update(due_at=late, rings=9, ring_at=timezone.now() + timedelta(seconds=300))
    assert (clock.ringer.ring(), broker.llen("kaiten")) == (0, 1)
    broker.flushdb()
    assert (clock.ringer.ring(), broker.llen("kaiten")) == (1, 1)
    assert clock.ringer.ring() == 0


def test_a_queue_with_fewer_bells_than_were_rung_has_lost_some(clock: Clock, broker: Redis) -> None:
    """After a flush in the middle of a backlog a few new bells keep the queue from being empty; a
    thousand jobs waited for their back-off of minutes, and idle processes heard nothing of them.
    """
    for number in range(60):
        tasks.add.delay(number, 1)
    late, later = (timezone.now() + timedelta(seconds=seconds) for seconds in (-250, 250))
    Job.objects.update(due_at=late, rings=6, ring_at=later)
    broker.flushdb()
    tasks.add.delay(61, 1)
    assert (clock.ringer.ring(), broker.llen("kaiten")) == (60, 61)
    assert (clock.ringer.ring(), broker.llen("kaiten")) == (0, 61), "one bell for each is enough"


def test_a_name_of_a_queue_that_holds_no_list_is_freed(clock: Clock, broker: Redis) -> None:
    """Otherwise anybody who can write to the broker could stop that queue, and all after it."""
    tasks.add.delay(1, 1)
    Job.objects.update(ring_at=timezone.now() - timedelta(seconds=1))
    broker.set("kaiten", "no list")
    clock.ringer.ring()
    assert clock.ringer.queued["kaiten"] == 0
    assert broker.llen("kaiten") == 1


def test_a_full_queue_is_not_rung_again(clock: Clock, broker: Redis, settings: Settings) -> None:
    tasks.add.delay(1, 1)
    Job.objects.update(ring_at=timezone.now() - timedelta(seconds=1))
    settings.LEDGER = {**settings.LEDGER, "RING_BUDGET": 1}
    assert (clock.ringer.ring(), broker.llen("kaiten")) == (0, 1)


def test_a_queue_that_has_lost_its_bells_is_filled_at_once_batch_by_batch(
    clock: Clock, broker: Redis, settings: Settings
) -> None:
    for _ in range(9):
        tasks.add.delay(1, 1)
    broker.flushdb()
    Job.objects.update(due_at=timezone.now() - LONG_AGO)
    settings.LEDGER = {**settings.LEDGER, "BATCH": 2, "RING_BUDGET": 7}
    assert (clock.ringer.ring(), broker.llen("kaiten")) == (7, 7)
    rung = [json.loads(raw)["headers"]["id"] for raw in broker.lrange("kaiten", 0, -1)]
    assert len(set(rung)) == 7


def test_jobs_due_later_are_rung_when_their_time_has_come(clock: Clock, broker: Redis) -> None:
    tasks.add.apply_async((1, 1), countdown=30)
    assert clock.ringer.ring() == 0
    Job.objects.update(due_at=timezone.now(), ring_at=timezone.now())
    assert (clock.ringer.ring(), broker.llen("kaiten")) == (1, 1)


def test_old_finished_jobs_are_pruned_and_waiting_ones_never(clock: Clock) -> None:
    tasks.add.delay(1, 1)
    work_off()
    tasks.add.delay(2, 2)
    assert clock.pruner.prune() == 0
    Job.objects.filter(state="done").update(finished_at=timezone.now() - timedelta(days=15))
    Job.objects.update(created_at=timezone.now() - timedelta(days=15))
    assert clock.pruner.prune() == 1
    assert Job.objects.get().state == "waiting"


def test_a_clock_that_stumbles_goes_on(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Otherwise the thread would end, and the worker would rescue and ring for no job."""
    ticks: list[int] = []

    def stumble() -> None:
        ticks.append(1)
        raise KeyError("a bug")

    monkeypatch.setattr(clock, "tick", stumble)
    settings.LEDGER = {**settings.LEDGER, "CLOCK_INTERVAL_S": 0.01}
    thread = ClockThread(clock)
    thread.start()
    try:
        until(lambda: len(ticks) > 2, "it ticks on", within_s=10)
    finally:
        thread.stop()
    assert not thread.is_alive()


def test_a_poisonous_job_with_a_broken_link_error_is_dead_and_the_rest_are_rescued(
    clock: Clock,
) -> None:
    poison, other = claimed(losses=2, link_error=tasks.nothing.s()), claimed()
    Job.objects.update(lease_until=timezone.now() - LONG_AGO)
    assert clock.rescuer.rescue() == 2
    assert set(Job.objects.values_list("pk", "state")) == {
        (poison.pk, "dead"),
        (other.pk, "waiting"),
    }


def test_arguments_that_cannot_be_read_back_do_not_stop_the_clock(
    clock: Clock, broker: Redis
) -> None:
    tasks.add.delay(1, 1)
    Job.objects.update(
        args=[[{"__type__": "nonsense", "__value__": 1}], {}], ring_at=timezone.now() - LONG_AGO
    )
    assert clock.ringer.ring() == 1


def test_a_backlog_of_old_jobs_is_pruned_batch_by_batch_and_tick_by_tick(
    clock: Clock, settings: Settings
) -> None:
    for number in range(9):
        tasks.add.delay(number, 1)
    work_off()
    settings.LEDGER = {**settings.LEDGER, "BATCH": 2, "PRUNE_BATCHES": 2}
    clock.pruner.pruned_at -= ledger_settings.PRUNE_EVERY_S
    Job.objects.update(finished_at=timezone.now() - timedelta(days=15))
    assert (clock.pruner.prune(), Job.objects.count()) == (2, 7)
    for left in (3, 0, 0):
        clock.tick()
        assert Job.objects.count() == left


def test_old_chords_groups_and_workers_are_pruned_in_batches_too(
    clock: Clock, settings: Settings
) -> None:
    settings.LEDGER = {**settings.LEDGER, "BATCH": 2}
    old = timezone.now() - timedelta(days=15)
    for number in range(3):
        Chord.objects.create(pk=UUID(int=number), body={}, fired=True, created_at=old)
        Group.objects.create(pk=UUID(int=number), members=[], created_at=old)
        Worker.objects.create(pk=UUID(int=number), name="gone", pid=1, seen_at=old)
    waits = Chord.objects.create(pk=UUID(int=9), body={}, created_at=old)
    for pruned, left in ((2, 1), (1, 0), (0, 0)):
        assert clock.pruner.prune() == pruned
        assert (Chord.objects.exclude(pk=waits.pk).count(), Group.objects.count()) == (left, left)
        assert Worker.objects.exclude(pk=clock.worker).count() == left
    assert Chord.objects.get() == waits


@pytest.mark.parametrize("end", ["lost", "cancelled"])
def test_what_hangs_on_a_job_that_a_clock_or_a_person_ends_is_promised_on_its_behalf(
    clock: Clock, end: str
) -> None:
    with context.bound(request_id="r1", client="c1"), bulk():
        job = claimed(losses=2, link_error=tasks.nothing.si())
        chain(tasks.add.s(1, 1), tasks.add.s(1)).apply_async()
    if end == "lost":
        Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - LONG_AGO)
        clock.rescuer.rescue()
        left = Job.objects.get(task=tasks.nothing.name)
    else:
        interventions.cancel(Job.objects.filter(state="waiting"), by="hana")
        left = Job.objects.get(state="dead")
    assert left.context == {"request_id": "r1", "client": "c1", "queue": "bulk"}
