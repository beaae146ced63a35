"""The low-water mark: a snapshot that somebody holds makes no look for jobs longer, and no job that
waits is ever before the mark.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from celery_ledger.models import Claim, Job, Settled
from celery_ledger.models.jobs import due
from celery_ledger.models.jobs.columns import BEGINNING
from celery_ledger.models.jobs.low_water import LowWater
from tests.celery_ledger import past, tasks
from tests.postgres.hands import Hand
from tests.postgres.plans import plans_of

pytestmark = pytest.mark.django_db(transaction=True)
TASK = "tests.celery_ledger.tasks.add"
ROUNDS, AT_ONCE = 100, 20
MANY, FEW = 200, 100  # buffers
ERROR = {"type": "Later", "message": ""}


@pytest.fixture
def _no_lag(settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "LOW_WATER_LAG_S": 0}


@pytest.fixture
def _held_snapshot() -> Iterator[None]:
    """Hold a snapshot for as long as the test, as a backup does."""
    names = ("dbname", "user", "password", "host", "port")
    params = {key: connection.get_connection_params()[key] for key in names}
    with psycopg.connect(**params, autocommit=True) as backup:
        backup.execute("SET transaction_timeout = 0")
        backup.execute("SET idle_in_transaction_session_timeout = 0")
        backup.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        backup.execute("SELECT count(*) FROM celery_ledger_job")
        yield
        backup.execute("ROLLBACK")


def claim(ids: list[UUID]) -> list[Claim]:
    return Job.objects.claim(
        ids, task=TASK, token=uuid4(), worker=None, pid=1, lease=timedelta(0), first=True
    )


def settle_many() -> None:
    for _ in range(ROUNDS):
        past.promise(AT_ONCE, rings="0 s")
        newest = Job.objects.filter(state="waiting").order_by("-created_at")
        ids = list(newest.values_list("pk", flat=True)[:AT_ONCE])
        with transaction.atomic():
            Job.objects.settle([Settled(each, 1, []) for each in claim(ids)])


def looks(marks: dict[str, datetime]) -> dict[str, Callable[[], Any]]:
    jobs = Job.objects.filter(queue="kaiten", ring_at__gte=marks["ring_at"])
    since = marks["due_at"]

    def ring() -> list[Job]:
        with transaction.atomic():
            return jobs.take_for_ring(AT_ONCE, lost=True)

    return {
        "ring": ring,
        "missing bells": jobs.believed_rung()[:AT_ONCE].count,
        "running": Job.objects.filter(lease_until__gte=marks["lease_until"]).lost().count,
        "owners": lambda: due.who_waits("kaiten", since=since),
        "next": lambda: due.of_the_next_owners(
            "kaiten", after="", tasks=[TASK], timelimit=[25, 20], number=5, since=since
        ),
        "threads": lambda: due.of_each_owner({"kaiten": 5}, tasks=[TASK], marks={"kaiten": since}),
    }


def buffers_of(some: dict[str, Callable[[], Any]]) -> dict[str, int]:
    found = {}
    for name, look in some.items():
        plans = plans_of(look)
        found[name] = max(plan.buffers for plan in plans)
        print(name, *((plan.buffers, plan.nodes) for plan in plans))
    return found


@pytest.mark.usefixtures("_no_lag", "_held_snapshot")
def test_no_look_walks_over_what_is_done_while_somebody_holds_a_snapshot() -> None:
    waters = {column: LowWater(column, "kaiten") for column in ("ring_at", "lease_until", "due_at")}
    from_the_beginning = dict.fromkeys(waters, BEGINNING)
    settle_many()
    assert min(water.mark for water in waters.values()) > timezone.now() - timedelta(minutes=1)
    past.promise(3, rings="0 s")
    marks = {column: water.mark for column, water in waters.items()}
    walked, looked = buffers_of(looks(from_the_beginning)), buffers_of(looks(marks))
    assert {name for name, buffers in looked.items() if buffers > FEW} == set(), (looked, marks)
    assert {"ring", "running", "owners"} <= {n for n, b in walked.items() if b > MANY}, walked
    found = {name: look() for name, look in looks(marks).items()}
    assert (len(found["ring"]), len(found["next"]), len(found["threads"])) == (3, 3, 3)
    assert found["owners"] == (False, True)


@pytest.mark.usefixtures("_no_lag")
@pytest.mark.parametrize("column", ["ring_at", "due_at"])
def test_what_is_committed_late_is_not_behind_the_mark(column: str) -> None:
    water = LowWater(column, "kaiten")
    with Hand() as late:
        late.open_transaction()
        late.do(lambda: past.promise(1, rings="0 s"))
        mark = water.mark
        late.commit()
    assert Job.objects.filter(**{f"{column}__gte": mark}).count() == 1


@pytest.mark.usefixtures("_no_lag")
@pytest.mark.parametrize("column", ["ring_at", "due_at"])
def test_nothing_waits_from_a_time_before_it_was_said_to(column: str) -> None:
    """Whatever time a caller names, and however slow a worker's own clock is."""
    yesterday = timezone.now() - timedelta(days=1)
    water = LowWater(column, "kaiten")
    before = water.mark
    promised = UUID(tasks.add.apply_async((1, 1), eta=yesterday).id)
    assert found(column, since=before) == [promised]
    [attempt] = claim([promised])
    before = water.mark
    Job.objects.put_back(attempt, due_at=yesterday, error=ERROR, retried=True)
    assert found(column, since=before) == [promised]


@pytest.mark.usefixtures("_no_lag")
def test_what_is_given_back_is_rung_like_any_other() -> None:
    past.promise(1, rings="0 s")
    [attempt] = claim(list(Job.objects.values_list("pk", flat=True)))
    before = LowWater("ring_at", "kaiten").mark
    Job.objects.give_back([attempt], were_begun=False)
    assert found("ring_at", since=before) == [attempt.id]


def test_the_mark_is_found_anew_from_the_oldest_job_now_and_then(settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "LOW_WATER_LAG_S": 0, "LOW_WATER_WHOLE_S": 1000}
    water = LowWater("ring_at", "kaiten")
    raised = water.mark
    past.promise(1, rings="-1 h")  # as whoever writes into the table may
    assert water.mark >= raised
    settings.LEDGER = {**settings.LEDGER, "LOW_WATER_WHOLE_S": 0}
    assert water.mark < raised


def found(column: str, *, since: datetime) -> list[UUID]:
    waiting = Job.objects.filter(state="waiting", **{f"{column}__gte": since})
    return list(waiting.values_list("pk", flat=True))


@pytest.mark.usefixtures("_no_lag")
def test_a_vacuum_that_is_under_way_holds_no_mark_down() -> None:
    """Postgres starts one when it likes, so here a session of ours has the type of one."""
    water = LowWater("due_at", "kaiten")
    with Hand() as vacuum, connection.cursor() as cursor:
        vacuum.open_transaction()
        vacuum.do(lambda: past.promise(1, rings="1 h", due="1 h"))
        began_at = timezone.now()
        assert water.mark < began_at, "whoever writes holds it down"
        cursor.execute(
            "CREATE TEMPORARY VIEW pg_stat_activity AS"
            " SELECT datname, backend_xid, xact_start, CASE WHEN pid = pg_backend_pid()"
            " THEN backend_type ELSE 'autovacuum worker' END AS backend_type"
            " FROM pg_catalog.pg_stat_activity"
        )
        try:
            assert water.mark > began_at
        finally:
            cursor.execute("DROP VIEW pg_temp.pg_stat_activity")
