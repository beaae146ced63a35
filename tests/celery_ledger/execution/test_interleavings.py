"""The model's planted bugs again, on real Postgres with the real SQL: two sessions, forced into
each bad order.

Each test names the guard of `tests/model/world.py` without which it goes red
(`tests/promises/test_planted_bugs.py` takes the guards out, one by one, and sees it).
"""

import threading
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import chord
from celery import current_app as celery_app
from celery.exceptions import Retry
from django.contrib.auth.models import Group as Note
from django.db import connection, transaction
from django.utils import timezone
from redis import Redis

from celery_ledger.models import Claim, Job, Settled
from celery_ledger.models.chord import Chord, ChordPart
from celery_ledger.models.schedule import Schedule
from celery_ledger.testing import attempt, work_off
from celery_ledger.worker.clock import Clock
from celery_ledger.worker.lead import we_lead
from tests.celery_ledger import tasks
from tests.celery_ledger.errors import error_of
from tests.postgres.hands import Barrier, Hand
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
LEASE = timedelta(seconds=40)


@pytest.fixture
def barrier(monkeypatch: pytest.MonkeyPatch) -> Barrier:
    """A barrier inside the body of `tasks.note`, when its effect is written."""
    barrier, create, names = Barrier(), Note.objects.create, iter("123456789")

    def create_and_wait(name: str) -> Note:
        created = create(name=f"{name}{next(names)}")
        barrier()
        return created

    monkeypatch.setattr(Note.objects, "create", create_and_wait)
    return barrier


def clock() -> Clock:
    return Clock(celery_app, worker=uuid4(), name="test@here")


def promised(**options: Any) -> Job:
    return Job.objects.get(pk=tasks.note.apply_async(("a",), **options).id)


def claimed(job: Job) -> list[Claim]:
    return Job.objects.claim(
        [job.pk], task=job.task, token=uuid4(), worker=None, pid=1, lease=LEASE
    )


def run_out(job: Job) -> None:
    Job.objects.filter(pk=job.pk, state="running").update(lease_until=timezone.now() - LEASE)


def rescue() -> int:
    return clock().rescuer.rescue()


def test_a_ghost_settles_nothing_that_another_hand_has_settled(
    one: Hand, two: Hand, barrier: Barrier
) -> None:
    """NO_FENCE"""
    job = promised()
    ghost = one.begin(lambda: attempt(job))
    barrier.wait_until_reached()
    run_out(job)
    assert rescue() == 1
    two.do(lambda: attempt(job))
    token = Job.objects.get().token
    barrier.open()
    ghost.result(timeout=20)
    done = Job.objects.get()
    assert (done.state, done.token, done.attempts, Note.objects.get().name) == (
        "done",
        token,
        2,
        "a2",
    )


def test_a_ghosts_verdict_wakes_nobody(
    one: Hand, two: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UNFENCED_VERDICT"""
    barrier, bodies = Barrier(), []

    def body(name: str) -> None:
        bodies.append(name)
        if len(bodies) == 1:
            barrier()
            raise Retry("try me again", when=0)

    monkeypatch.setattr(tasks.note, "run", body)
    job = promised()
    ghost = one.begin(lambda: attempt(job))
    barrier.wait_until_reached()
    run_out(job)
    rescue()
    two.do(lambda: attempt(job))
    barrier.open()
    ghost.result(timeout=20)
    job.refresh_from_db()
    assert (job.state, len(bodies), error_of(job)["type"]) == ("done", 2, "Lost")


def test_a_rescue_leaves_a_job_that_is_being_settled(one: Hand, two: Hand) -> None:
    """A rescue that waited for the row would take a job that is done when it gets it."""
    job = promised()
    [claim] = claimed(job)
    run_out(job)
    one.open_transaction()
    assert one.do(lambda: Job.objects.settle([Settled(claim, 1, [])])) is True
    assert two.do(rescue) == 0
    one.commit()
    assert two.do(rescue) == 0
    job.refresh_from_db()
    assert (job.state, job.losses) == ("done", 0)


def test_a_settlement_that_comes_in_the_middle_of_a_rescue_is_too_late(
    one: Hand, two: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TWO_STEP_RESCUE: what is found lost stays locked until it is given back."""
    barrier, release = Barrier(), Job.objects.all().release

    def release_later(*jobs: Any, **how: Any) -> None:
        barrier()
        release(*jobs, **how)

    monkeypatch.setattr(Job.objects, "release", release_later)
    job = promised()
    [claim] = claimed(job)
    run_out(job)
    rescued = one.begin(rescue)
    barrier.wait_until_reached()
    late = two.begin(lambda: Job.objects.settle([Settled(claim, 1, [])]))
    two.wait_until_blocked()
    barrier.open()
    assert (rescued.result(timeout=20), late.result(timeout=20)) == (1, False)
    assert Job.objects.get().state == "waiting"


def test_a_job_in_the_middle_of_a_rescue_is_not_claimed(one: Hand, two: Hand) -> None:
    job = promised()
    claimed(job)
    run_out(job)
    one.open_transaction()
    one.do(rescue)
    assert two.do(lambda: claimed(job)) == []
    one.commit()
    [claim] = two.do(lambda: claimed(job))
    now = Job.objects.get()
    assert (now.state, now.token, now.losses, now.lease_until is None) == (
        "running",
        claim.token,
        1,
        False,
    )


def test_an_attempt_number_that_repeats_after_a_crash_gives_no_right_to_settle(
    one: Hand, two: Hand
) -> None:
    """ATTEMPT_AS_TOKEN. A claim commits asynchronously: a crash of Postgres may leave the row as it
    was before.
    """
    job = promised()
    [forgotten] = one.do(lambda: claimed(job))
    Job.objects.update(state="waiting", attempts=0, token=None, lease_until=None)
    [valid] = two.do(lambda: claimed(job))
    assert forgotten.attempts == valid.attempts == 1
    assert one.do(lambda: Job.objects.settle([Settled(forgotten, "ghost", [])])) is False
    assert two.do(lambda: Job.objects.settle([Settled(valid, "mine", [])])) is True
    assert Job.objects.get().result == "mine"


def test_effects_and_done_are_lost_together(one: Hand, barrier: Barrier) -> None:
    """SPLIT_EFFECTS: the session ends between the effect and "done"."""
    job = promised()
    attempted = one.begin(lambda: attempt(job))
    barrier.wait_until_reached()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [one.session])
    barrier.open()
    attempted.result(timeout=20)
    assert (Note.objects.count(), Job.objects.get().state) == (0, "waiting")
    work_off(ahead=timedelta(minutes=1))
    assert (Note.objects.count(), Job.objects.get().state) == (1, "done")


def test_hands_that_claim_at_the_same_moment_share_nothing(one: Hand, two: Hand) -> None:
    """UNCHECKED_CLAIM"""
    ids = sorted(UUID(tasks.note.delay(str(number)).id) for number in range(50))

    def claim_all() -> set[UUID]:
        lease: dict[str, Any] = {"worker": None, "pid": 1, "lease": LEASE}
        return {
            claim.id
            for id_ in ids
            for claim in Job.objects.claim([id_], task=tasks.note.name, token=uuid4(), **lease)
        }

    first, second = one.begin(claim_all), two.begin(claim_all)
    got = first.result(timeout=20), second.result(timeout=20)
    assert got[0] | got[1] == set(ids)
    assert got[0] & got[1] == set()
    assert (one.do(claim_all), {job.attempts for job in Job.objects.all()}) == (set(), {1})


def test_a_part_done_by_two_hands_counts_once(one: Hand, two: Hand, barrier: Barrier) -> None:
    """PART_COUNTED_TWICE"""
    result = chord([tasks.note.s("a"), tasks.note.s("b")], tasks.listed.s()).apply_async()
    first, second = Job.objects.filter(task=tasks.note.name).order_by("created_at")
    ghost = one.begin(lambda: attempt(first))
    barrier.wait_until_reached()
    run_out(first)
    rescue()
    two.do(lambda: attempt(first))
    barrier.open()
    ghost.result(timeout=20)
    assert (ChordPart.objects.count(), Job.objects.filter(task=tasks.listed.name).count()) == (1, 0)
    two.do(lambda: attempt(second))
    work_off()
    assert result.get(timeout=5) == ["a", "b"]


@pytest.mark.parametrize("first_ends", ["commit", "roll back"])
def test_two_parts_that_end_at_the_same_moment_promise_one_body(
    one: Hand, two: Hand, first_ends: str
) -> None:
    """PART_COUNTED_APART"""
    result = chord([tasks.add.s(1, 1), tasks.add.s(2, 2)], tasks.total.s()).apply_async()
    first, second = Job.objects.filter(task=tasks.add.name).order_by("created_at")
    one.open_transaction()
    one.do(lambda: attempt_inside_a_transaction(first))
    other = two.begin(lambda: attempt(second))
    two.wait_until_blocked()
    if first_ends == "commit":
        one.commit()
    else:
        one.roll_back()
    other.result(timeout=20)
    assert Job.objects.filter(task=tasks.total.name).count() == int(first_ends == "commit")
    work_off()
    assert (result.get(timeout=5), Job.objects.filter(task=tasks.total.name).count()) == (6, 1)


def attempt_inside_a_transaction(job: Job) -> None:
    attempt(job)
    assert Job.objects.get(pk=job.pk).state == "done"


def test_a_poisonous_job_and_its_errback_end_in_one_transaction(one: Hand, two: Hand) -> None:
    """SILENT_DEATH"""
    job = promised(link_error=tasks.add.si(1, 1))
    claimed(job)
    Job.objects.update(losses=2)
    run_out(job)
    one.open_transaction()
    one.do(rescue)
    assert two.do(lambda: [(seen.task, seen.state) for seen in Job.objects.all()]) == [
        (tasks.note.name, "running")
    ]
    one.commit()
    seen = two.do(lambda: set(Job.objects.values_list("task", "state")))
    assert seen == {(tasks.note.name, "dead"), (tasks.add.name, "waiting")}


def test_clocks_that_rescue_at_the_same_moment_count_one_loss(one: Hand, two: Hand) -> None:
    """UNCOUNTED_LOSS"""
    job = promised()
    for losses in (1, 2):
        claimed(job)
        run_out(job)
        rescues = one.begin(rescue), two.begin(rescue)
        assert sorted(rescued.result(timeout=20) for rescued in rescues) == [0, 1]
        job.refresh_from_db()
        assert (job.state, job.losses) == ("waiting", losses)


def test_clocks_that_ring_at_the_same_moment_ring_once_and_again_when_nobody_heard(
    one: Hand, two: Hand, broker: Redis
) -> None:
    """RUNG_ONCE"""
    for _ in range(20):
        promised()
    broker.flushdb()
    for rings in (1, 2):
        Job.objects.update(ring_at=timezone.now() - LEASE)
        rung = one.begin(clock().ringer.ring), two.begin(clock().ringer.ring)
        assert sum(number.result(timeout=20) for number in rung) == broker.llen("kaiten") == 20
        assert set(Job.objects.values_list("rings", flat=True)) == {rings}
        broker.flushdb()


def idle_limit() -> str:
    """The limit for which this transaction may be idle."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        return str(cursor.fetchone()[0])


def test_a_clock_that_freezes_in_the_lead_loses_it(one: Hand, settings: Any) -> None:
    """Otherwise a stopped process would keep all others from ringing while its session may be
    idle.
    """
    settings.LEDGER = {**settings.LEDGER, "LEAD_S": 1}
    one.open_transaction()
    assert one.do(lambda: we_lead("ring kaiten"))
    assert one.do(idle_limit) == "1s", "it may freeze for as long as any session"

    def is_ours() -> bool:
        with transaction.atomic():
            return we_lead("ring kaiten")

    assert not is_ours()
    until(is_ours, "the lead is somebody else's", within_s=30)


def test_no_clock_waits_for_another_that_promises_slots(
    one: Hand, two: Hand, settings: Any
) -> None:
    """Otherwise it would not ring meanwhile."""
    entry = {"task": tasks.note.name, "args": ["x"], "schedule": 1.0}
    celery_app.conf.beat_schedule = {"often": entry}
    try:
        one.open_transaction()
        one.do(lambda: we_lead("promise often") and Schedule.objects.locked("often"))
        assert two.do(clock().scheduler.promise_due_slots) == 0
        one.commit()
    finally:
        celery_app.conf.beat_schedule = {}


def test_a_clock_that_rings_in_one_queue_keeps_no_other_clock_from_ringing_in_the_next(
    one: Hand, two: Hand, broker: Redis
) -> None:
    """ONE_TURN_FOR_ALL"""
    promised()
    broker.flushdb()
    Job.objects.update(ring_at=timezone.now() - LEASE)
    has_its_turn, may_go_on = threading.Event(), threading.Event()

    def hold_the_turn(execute: Any, sql: str, *rest: Any) -> Any:
        done = execute(sql, *rest)
        if "pg_try_advisory_xact_lock" in sql:
            has_its_turn.set()
            may_go_on.wait(timeout=20)
        return done

    def ring_slowly_outside() -> None:
        with connection.execute_wrapper(hold_the_turn):
            jobs = Job.objects.filter(queue="outside")
            clock().ringer._ring_some("outside", partial(jobs.take_for_ring, 10))

    slow = one.begin(ring_slowly_outside)
    assert has_its_turn.wait(timeout=20)
    try:
        assert two.begin(clock().ringer.ring).result(timeout=20) == broker.llen("kaiten") == 1
    finally:
        may_go_on.set()
        slow.result(timeout=20)


def test_a_silent_workers_job_is_given_to_another_hand(one: Hand, two: Hand) -> None:
    """NO_RESCUE"""
    job = promised()
    one.do(lambda: claimed(job))
    assert two.do(lambda: claimed(job)) == []
    run_out(job)
    assert (two.do(rescue), len(two.do(lambda: claimed(job)))) == (1, 1)


def test_a_job_is_either_cancelled_or_claimed(one: Hand, two: Hand) -> None:
    first, second = promised(), promised()
    one.open_transaction()
    one.do(
        lambda: Job.objects.filter(pk=first.pk).cancel(
            error={"type": "Revoked", "message": "by a test"}
        )
    )
    assert two.do(lambda: claimed(first)) == []
    one.commit()
    two.do(lambda: claimed(second))
    assert (
        one.do(lambda: Job.objects.cancel(error={"type": "Revoked", "message": "by a test"})) == []
    )
    assert set(Job.objects.values_list("pk", "state")) == {
        (first.pk, "cancelled"),
        (second.pk, "running"),
    }


def test_what_a_person_retries_is_not_pruned_by_a_clock_that_saw_it_dead(
    one: Hand, two: Hand
) -> None:
    job = promised()
    long_ago = timezone.now() - timedelta(days=30)
    Job.objects.filter(pk=job.pk).update(state="dead", finished_at=long_ago)
    one.open_transaction()
    one.do(lambda: Job.objects.filter(pk=job.pk).retry(by="hana"))
    pruned = two.begin(
        lambda: Job.objects.prune(before=timezone.now() - timedelta(days=14), limit=10)
    )
    two.wait_until_blocked()
    one.commit()
    assert (pruned.result(timeout=20), Job.objects.get().state) == (0, "waiting")


def test_a_dead_part_that_cannot_reach_its_chord_waits_until_it_can(one: Hand, two: Hand) -> None:
    """A lock timeout passes; a chord that is never told of a dead part would wait for ever."""
    result = chord(
        [tasks.fail_with.s("no such luck"), tasks.add.s(1, 1)], tasks.total.s()
    ).apply_async()
    part = Job.objects.get(task=tasks.fail_with.name)
    one.open_transaction()
    one.do(lambda: list(Chord.objects.select_for_update()))
    two.do(lambda: connection.cursor().execute("SET lock_timeout = '100ms'"))
    two.do(lambda: attempt(part))
    part.refresh_from_db()
    assert (part.state, error_of(part)["type"]) == ("waiting", "OperationalError")
    one.commit()
    work_off(ahead=timedelta(hours=1))
    part.refresh_from_db()
    assert (part.state, error_of(part)["type"]) == ("dead", "ValueError")
    assert error_of(Job.objects.get(pk=result.id))["type"] == "ChordError"
