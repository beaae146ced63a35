"""What the ledger's queries cost with a million finished jobs.

`bin/bench -k million` takes ten minutes. Figures are buffers (pages of 8 kB that a statement looked
at), since those hardly depend on the machine. What they were before ADR 11 stands in
docs/performance.md.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.db import connection

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Worker
from celery_ledger.testing import work_off
from celery_ledger.worker.clock import Clock
from config import celery_app
from tests.bench.jobs.costs import Figures, churn, cost_of_looking, cost_of_work
from tests.celery_ledger import past
from tests.shop import Api

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1800)]

MILLION = 1_000_000
CHURN = 20_000  # jobs worked off before the queries are looked at
BACKLOG = 20_000  # waiting jobs
# Buffers: of what each job and tick pays (a look may walk over what was done since the mark, and
# that of threads goes to each of the owners), of what looks or prunes.
WORK_MAX, LOOK_MAX = 500, 2_000
HELD = 3_000  # jobs worked off while a snapshot is held: 50 a second for a minute


def test_a_million_finished_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    for situation, figures in situations().items():
        show(situation, figures)
        assert dear(figures) == {}, situation
    start = perf_counter()
    monkeypatch.setitem(settings.LEDGER, "KEEP", timedelta(days=1))
    Clock(celery_app, worker=uuid4(), name="bench").pruner.prune_all()
    rows = ledger_settings.BATCH * ledger_settings.PRUNE_BATCHES
    print(f"\nA tick prunes {rows} rows; here that took {perf_counter() - start:.2f} s.")
    ask("ALTER TABLE celery_ledger_job RESET (autovacuum_enabled)")


def test_how_many_dead_of_a_million_rows_to_put_up_with() -> None:
    """Autovacuum comes at a fifth of the table unless told otherwise."""
    fill()
    worker = uuid4()
    for share in (0.05, 0.2):
        worked = 0
        while dead_rows() < share * MILLION:
            worked += churn(2500, worker)
        print(f"\n{share:.0%} dead after {worked} jobs; pages: {pages()}")
        figures = cost_of_work(worker)
        print(", ".join(f"{query} {buffers}" for query, buffers in figures.items()))
        assert dear(figures) == {}
        with noticed() as notices:
            ask("VACUUM (VERBOSE) celery_ledger_job")
        print(next(line for line in notices if line.startswith("buffer usage")), "of the vacuum")
    ask("ALTER TABLE celery_ledger_job RESET (autovacuum_enabled)")


def test_which_updates_write_into_no_index(
    api: Api, stock: Callable[..., Any], order_body: Callable[..., Any]
) -> None:
    """Fifty orders in flight at once, and sixty workers that beat for half a minute."""
    stock(on_hand=10**6)
    ask("SELECT pg_stat_reset()")
    for number in range(50):
        assert (
            api.place(order_body(external_id=f"bench-{number}"), key=f"key-{number}").status_code
            == 202
        )
    work_off()
    beat(workers=60, beats=30)
    print("\nUpdates that wrote into no index (heap-only)")
    for table, (updates, hot) in heap_only().items():
        print(f"  {table:40} {hot:6} of {updates}")


# --- the situations -------------------------------------------------------------------------------


def fill() -> None:
    """A million finished jobs, and gaps where old rows were, as in a table that has lived for a
    while.
    """
    ask("SET synchronous_commit = off")
    ask(
        "SELECT set_config(name, '0', false) FROM pg_settings "
        "WHERE name IN ('statement_timeout', 'lock_timeout')"
    )
    # it would come at random; see the test of it
    ask("ALTER TABLE celery_ledger_job SET (autovacuum_enabled = false)")
    past.finish(MILLION)
    ask("VACUUM ANALYZE celery_ledger_job")
    churn(CHURN, uuid4())
    ask("VACUUM ANALYZE celery_ledger_job")


def situations() -> dict[str, Figures]:
    """The cost of each query after some hours of work, beside a fresh backlog, and under an old
    snapshot.
    """
    worker = uuid4()
    churn(CHURN, worker)
    print(f"\n{CHURN} jobs worked off; {dead_rows()} rows are dead; pages: {pages()}")
    figures = {"after work": cost_of_work(worker) | cost_of_looking()}
    past.promise(BACKLOG, rings="-1 s", due="-6 s", queue="another")
    past.promise(BACKLOG, rings="600 s", due="600 s")
    figures["with 40,000 waiting jobs that no ANALYZE has seen"] = cost_of_work(worker)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM celery_ledger_job WHERE state = 'waiting'")
    ask("VACUUM ANALYZE celery_ledger_job")
    with snapshot_held():
        churn(HELD, worker)
        figures["while a snapshot is held, 3,000 jobs later"] = cost_of_work(worker)
    ask("VACUUM ANALYZE celery_ledger_job")
    return figures


# --- Postgres -------------------------------------------------------------------------------------


@contextmanager
def snapshot_held() -> Iterator[None]:
    """Another session's transaction that has looked and does not end, as a backup's."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(
                "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ("
                "'idle_in_transaction_session_timeout', 'transaction_timeout')"
            )
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT 1 FROM celery_ledger_job LIMIT 1")
        yield
    finally:
        other.close()


def beat(*, workers: int, beats: int) -> None:
    for number in range(workers * beats):
        Worker.objects.beat(UUID(int=number % workers), name="bench", pid=1)


def dead_rows() -> int:
    ask("SELECT pg_stat_force_next_flush()")
    return int(
        ask("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'celery_ledger_job'")
    )


@contextmanager
def noticed() -> Iterator[list[str]]:
    """The lines that Postgres says beside its answers."""
    lines: list[str] = []

    def note(notice: Any) -> None:
        lines.extend(line.strip() for line in notice.message_primary.splitlines())

    connection.connection.add_notice_handler(note)
    yield lines
    connection.connection.remove_notice_handler(note)


def heap_only() -> dict[str, tuple[int, int]]:
    ask("SELECT pg_stat_force_next_flush()")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables "
            "WHERE n_tup_upd > 0 ORDER BY 1"
        )
        return {table: (updates, hot) for table, updates, hot in cursor.fetchall()}


def pages() -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_relation_size(oid) / 8192 FROM pg_class "
            "WHERE relname ~ '^(celery_ledger_job|job_)' "
            "AND relkind IN ('r', 'i') ORDER BY 1"
        )
        return ", ".join(f"{name} {size}" for name, size in cursor.fetchall())


def ask(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def dear(figures: Figures) -> Figures:
    """Those that look at more than they may."""

    def limit(query: str) -> int:
        of_work = ("claim", "settle", "retry", "tick", "process", "threads")
        return WORK_MAX if query.startswith(of_work) and "prune" not in query else LOOK_MAX

    return {query: buffers for query, buffers in figures.items() if buffers > limit(query)}


def show(situation: str, figures: Figures) -> None:
    print(f"\n| buffers, {situation} | |\n|---|---:|")
    for query, buffers in figures.items():
        print(f"| {query} | {buffers:,} |")
