"""The plans of the statements of every job and every tick, on a ledger with many finished jobs.

The statistics are older than the backlog, as they are when it matters: after an outage, before the
next ANALYZE.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Claim, Job, Settled, State, Worker
from celery_ledger.models.jobs import due
from celery_ledger.models.jobs.low_water import LowWater
from celery_ledger.operations import listing, owned, stats
from tests.celery_ledger import past
from tests.postgres.plans import plans_of

# a rollback would leave its rows to be walked over
pytestmark = pytest.mark.django_db(transaction=True)

FINISHED, BACKLOG = 20_000, 2_000  # of each kind
# buffers: a descent of every index, with room to grow; a walk along the backlog takes hundreds
ONE_ROW = 60
BATCH, PER_ROW = 50, 14
TASK = "tests.celery_ledger.tasks.add"
BY_ID = "Index Scan of celery_ledger_job_pkey"


@pytest.fixture
def ledger() -> None:
    past.finish(FINISHED)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE celery_ledger_job")
    past.promise(BACKLOG, due="-1 h", rings="100 s")
    past.promise(BACKLOG, due="-1 h", rings="-10 s", queue="busy")
    past.promise(BACKLOG, due="1 h", rings="1 h", queue="later")


def ways(do: Callable[[], Any], *, within: int) -> list[str]:
    """The scans of celery_ledger_job in the plans of these statements. Asserts that none of them
    reads more buffers than that.
    """
    plans = plans_of(do)
    assert [(plan.buffers, plan.nodes) for plan in plans if plan.buffers > within] == []
    return [
        node
        for plan in plans
        for node in plan.nodes
        if "Scan of job" in node or "Scan of celery_ledger_job" in node
    ]


def some_due(number: int = 1) -> list[UUID]:
    return list(
        Job.objects.filter(queue="kaiten", state="waiting").values_list("pk", flat=True)[:number]
    )


def claim(*ids: UUID, worker: UUID | None = None) -> list[Claim]:
    return Job.objects.claim(
        ids, task=TASK, token=uuid4(), worker=worker, pid=1, lease=timedelta(seconds=40)
    )


def test_a_claim_a_slot_and_a_verdict_find_their_job_by_its_id(ledger: None) -> None:
    ids = some_due(2)
    assert ways(lambda: claim(ids[0]), within=ONE_ROW) == [BY_ID, BY_ID]
    claims = claim(ids[1])
    assert ways(lambda: Job.objects.settle([Settled(claims[0], 1, [])]), within=ONE_ROW) == [BY_ID]
    [slotted] = some_due(1)
    assert ways(lambda: Job.objects.take_slot(slotted, task=TASK, pause_s=1), within=ONE_ROW) == [
        BY_ID,
        BY_ID,
    ]


def test_a_place_is_found_by_its_key_and_so_is_whoever_is_next(ledger: None) -> None:
    """Among 1,000 of one key that wait, and others that run."""
    ids = some_due(BACKLOG)
    Job.objects.filter(pk__in=ids).update(concurrency_key="key a")
    Job.objects.filter(pk__in=ids[1000:]).update(concurrency_key="key b")
    claim(*some_due(100))
    lined = {"in_line_since": timezone.now(), "due_at": timezone.now() + timedelta(hours=1)}
    Job.objects.filter(pk__in=ids[:1000], state="waiting").update(**lined)
    limited = partial(Job.objects.claim, task=TASK, token=uuid4(), worker=None, pid=1)
    last = ids[-1:]
    taken = ways(lambda: limited(last, lease=timedelta(seconds=40), places=2), within=ONE_ROW)
    assert "Index Only Scan of job_place" in taken
    assert Job.objects.get(pk=last[0]).place == 1
    stood = ways(lambda: Job.objects.stand_in_line(ids[-2], places=1), within=ONE_ROW)
    assert set(stood) <= {BY_ID, "Index Scan of job_place", "Index Only Scan of job_place"}
    brought = ways(lambda: Job.objects.bring(["key a"]), within=ONE_ROW)
    assert "Index Scan of job_in_line" in brought


def test_a_clock_finds_lines_by_their_keys_however_many_stand_in_each(ledger: None) -> None:
    """Forty of fifty each: none of them is looked at but the first of a line."""
    ids, keys = some_due(BACKLOG), BACKLOG // 50
    lined = {"in_line_since": timezone.now(), "due_at": timezone.now() + timedelta(hours=1)}
    for number in range(keys):
        of_the_key = Job.objects.filter(pk__in=ids[number::keys])
        of_the_key.update(concurrency_key=f"key {number:02}", **lined)
    look = partial(Job.objects.lines, after="key 09", number=20)
    assert set(ways(look, within=20 * PER_ROW)) == {
        "Index Only Scan of job_in_line",
        "Index Scan of job_running",  # few run at a time
    }
    assert look() == [(f"key {number}", False) for number in range(10, 30)]


def test_the_clock_looks_at_no_job_that_it_does_not_ring(ledger: None) -> None:
    for queue, lost, rows in (
        ("kaiten", False, 0),  # its backlog has been rung
        ("kaiten", True, BATCH),
        ("busy", False, BATCH),
        ("idle", False, 0),  # whatever waits in others
        ("later", True, 0),
    ):
        jobs = Job.objects.filter(queue=queue)
        with transaction.atomic():
            taken = ways(partial(jobs.take_for_ring, BATCH, lost=lost), within=20 + rows * PER_ROW)
            assert taken == ["Index Scan of job_ring", BY_ID], queue
            assert len(jobs.take_for_ring(BATCH, lost=lost)) == rows, queue


def test_a_clock_counts_the_bells_that_should_be_there_up_to_their_number(ledger: None) -> None:
    for queue, rows in (("kaiten", BATCH), ("busy", 0), ("idle", 0)):
        rung = Job.objects.filter(queue=queue).believed_rung()[:BATCH]
        by_ring = ["Index Scan of job_ring"]
        assert ways(rung.count, within=20 + rows * PER_ROW) == by_ring, queue
        assert rung.count() == rows, queue


def test_a_rescue_looks_at_running_jobs_only(ledger: None) -> None:
    mine = uuid4()
    Worker.objects.beat(mine, name="me", pid=1)
    claim(*some_due(10), worker=mine)
    claim(*some_due(10), worker=uuid4())
    by_lease = "Index Scan of job_running"
    with transaction.atomic():
        taken = ways(lambda: Job.objects.lost().take_for_rescue(BATCH), within=100)
        assert [way for way in taken if "celery_ledger_worker" not in way] == [by_lease] * 2, (
            "the lost, and who ran beside them"
        )
        assert len(Job.objects.lost().take_for_rescue(BATCH)) == 10
    assert ways(lambda: list(Job.objects.running_at(mine).values_list("pid")), within=100) == [
        by_lease
    ]


def test_stats_read_some_pages_of_a_long_past(ledger: None) -> None:
    plans = plans_of(stats._counts) + plans_of(stats._lost)
    assert sum(plan.buffers for plan in plans) < 1000


def test_stats_count_what_is_few_and_estimate_what_is_many(monkeypatch: pytest.MonkeyPatch) -> None:
    past.finish(5000)
    monkeypatch.setattr(ledger_settings, "STATS_PAGES", 100)
    table = stats.stats().split("\n\n")[0]
    _, waiting, running, done, dead, cancelled = table.splitlines()[1].rsplit(maxsplit=5)
    assert (waiting, running, dead, cancelled) == ("0", "0", "5", "5")
    assert done.startswith("~")
    assert 2500 < int(done[1:]) < 10_000
    counts = json.loads(stats.stats_as_json())
    assert (counts["estimated"], counts["tasks"]["orders.tasks.step_0"]["dead"]) == (True, 5)


def test_pruning_reads_the_oldest_and_deletes_one_batch(ledger: None) -> None:
    before = timezone.now() - timedelta(hours=1)
    old = Job.objects.filter(finished_at__lt=before).count()
    nodes = ways(lambda: Job.objects.prune(before=before, limit=BATCH), within=BATCH * PER_ROW)
    assert nodes[0] == "Index Scan of job_finished"
    assert {node.split()[-1] for node in nodes[1:]} <= {
        "celery_ledger_job",
        "celery_ledger_job_pkey",
    }
    assert not [node for node in nodes if node.startswith("Seq Scan")]
    assert Job.objects.filter(finished_at__lt=before).count() == old - BATCH


def test_the_dead_are_found_among_all_that_is_done(ledger: None) -> None:
    dead = Job.objects.filter(state=State.DEAD)
    assert ways(lambda: listing.listing(dead, limit=20), within=60) == [
        "Index Scan of job_retryable"
    ]


@pytest.mark.parametrize("client", [3, 999])  # one in twenty, and one that has no jobs at all
def test_a_client_is_shown_its_jobs_without_a_walk_over_everybodys(
    ledger: None, client: int
) -> None:
    """Jobs that wait are all read; of finished ones only those that are shown."""
    Job.objects.filter(state="waiting").exclude(queue="later").delete()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM celery_ledger_job")
    mine = f"0198f3a1-0000-7000-8000-{client:012}"
    found = owned.newest(mine, Q(), state=None, limit=21)
    taken = ways(lambda: list(found), within=BACKLOG)
    assert {way.rpartition(" ")[2] for way in taken} <= {
        "job_due_of_owner",
        "job_running",
        "job_of_owner",
        "celery_ledger_job",
    }
    assert taken.count("Index Scan of job_of_owner") == 2
    done = owned.newest(mine, Q(), state=State.DONE, limit=21)
    assert ways(lambda: list(done), within=80) == ["Index Scan of job_of_owner"] * 2
    assert len(done) == (21 if client == 3 else 0)


def test_a_beat_writes_into_no_index() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for _ in range(50):
            Worker.objects.beat(UUID(int=1), name="me", pid=1)
        cursor.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables "
            "WHERE relname = 'celery_ledger_worker'"
        )
        assert cursor.fetchone() == (49, 49)


def test_what_is_due_for_threads_is_found_however_many_wait(ledger: None) -> None:
    """Of an owner with thousands of due jobs, as many entries of the index are read as are asked
    for; of thousands that are due later, none.
    """
    for queue in ("kaiten", "later"):
        few = partial(due.of_each_owner, {queue: 5}, tasks=[TASK])
        found = ways(few, within=past.CLIENTS * PER_ROW)
        assert all("job_due_of_owner" in node or "job_priority" in node for node in found)


def test_who_waits_is_asked_of_the_index_of_owners_however_large_it_has_become() -> None:
    """A backlog that no ANALYZE has seen is one row to the planner, which then takes the smallest
    index that it may and sorts: whatever waits would be looked at twenty times a second.
    """
    past.finish(FINISHED)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE celery_ledger_job")
    past.promise(10 * BACKLOG, due="10 min", rings="10 min")
    low_water = LowWater("due_at", "kaiten")
    looks: list[Callable[[], Any]] = [
        partial(due.who_waits, "kaiten"),
        partial(
            due.of_the_next_owners, "kaiten", after="", tasks=[TASK], timelimit=[25, 20], number=5
        ),
        partial(due.of_each_owner, {"kaiten": 5}, tasks=[TASK]),
        lambda: low_water.mark,
    ]
    for look in looks:
        found = ways(look, within=50 * PER_ROW)
        assert {node.rpartition(" ")[2] for node in found} <= {"job_due_of_owner", "job_priority"}
