"""A backlog of small jobs, worked off by two processes: by the ledger, by a bare loop over a table
and by Celery as people tune it, in turn. `DRAIN_ROUNDS` says how often (5).
"""

import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import pytest
from django.db import connection, transaction

from celery_ledger import context, ledger_settings
from celery_ledger.models import Job
from tests.bench import cpu
from tests.bench.peers.tasks import count_durably
from tests.bench.peers.work import Work
from tests.promises.processes import PROGRAMS, Stack, Tree
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1500)]
JOBS, WARM = 3000, 300
ROUNDS = int(os.environ.get("DRAIN_ROUNDS", "5"))
Tally = Callable[[], Counter[int]]


class Round(NamedTuple):
    per_s: float  # jobs
    workers_ms: float  # of the processors, a job
    postgres_ms: float
    wal: float  # bytes a job
    commits: float  # a job


def test_a_backlog(stack: Stack, tally: Tally, work: None) -> None:
    Job.objects.all().delete()
    peers = {
        "bare loop": partial(by_loop, stack),
        "tuned Celery": partial(by_celery, stack),
        "ledger": partial(by_ledger, stack),
        "of 20 owners": partial(by_ledger, stack, owners=20),
    }
    compare(peers, tally)


def compare(drains: Mapping[str, Callable[[], Round]], tally: Tally) -> None:
    """Each in turn, the other way round every second time; the first is what all are compared
    with. Every job of each is done once.
    """
    rounds: dict[str, list[Round]] = {name: [] for name in drains}
    for number in range(ROUNDS):
        for name in [*drains][:: -1 if number % 2 else 1]:
            rounds[name].append(drains[name]())
            assert tally() == Counter(range(JOBS)), name
            empty_the_tables()
    middle = {
        name: Round(*map(statistics.median, zip(*of, strict=True))) for name, of in rounds.items()
    }
    first, *_ = middle.values()
    print(f"\n{JOBS} jobs worked off by two processes; medians of {ROUNDS} rounds")
    print(f"  {'':16} jobs/s × first  workers  Postgres ms a job  WAL B  commits a job")
    for name, of in middle.items():
        print(
            f"  {name:16} {of.per_s:6.0f} {of.per_s / first.per_s:7.2f} {of.workers_ms:8.2f}"
            f" {of.postgres_ms:9.2f} {of.wal:15.0f} {of.commits:9.2f}"
        )


def empty_the_tables() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE tally, bench_work, {Job._meta.db_table}")


def by_ledger(stack: Stack, *, owners: int = 1) -> Round:
    with transaction.atomic():
        for number in range(JOBS):
            with context.bound(**{ledger_settings.OWNER: f"owner {number % owners}"}):
                count_durably.delay(number)
    return measured(stack.start("worker", "--include", "tests.bench.peers.tasks"))


def by_loop(stack: Stack) -> Round:
    Work.objects.bulk_create(Work(number=number) for number in range(JOBS))
    both = 'for n in 1 2; do "$0" -m tests.bench.peers.loop & done; wait'
    return measured(stack.start_command("/bin/sh", "-c", both, sys.executable))


def by_celery(stack: Stack) -> Round:
    stack.run("-m", "tests.bench.peers.plain", str(JOBS))
    celery = (str(PROGRAMS / "celery"), "-A", "tests.bench.peers.plain", "worker")
    options = ("--concurrency", "2", "--without-gossip", "--without-mingle")
    return measured(stack.start_command(*celery, *options))


def measured(tree: Tree) -> Round:
    """From when it has begun to when it has ended, and kill it."""
    try:
        until(lambda: tallied() >= WARM, "it has begun", within_s=60)
        first, began, before = tallied(), time.monotonic(), used(tree)
        until(lambda: tallied() >= JOBS, "all is done", within_s=200)
        took_s, after = time.monotonic() - began, used(tree)
    finally:
        tree.kill()
    number = JOBS - first
    workers, postgres, wal, commits = (b - a for a, b in zip(before, after, strict=True))
    return Round(
        number / took_s,
        1000 * workers / number,
        1000 * postgres / number,
        wal / number,
        commits / number,
    )


def used(tree: Tree) -> tuple[float, float, float, float]:
    wal = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"
    commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    return cpu.of_tree(tree.process.pid), cpu.of_postgres(), float(one(wal)), float(one(commits))


def tallied() -> int:
    return int(one("SELECT count(*) FROM tally"))


def one(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]
