"""A backlog of small jobs, worked off in several ways in turn: how fast, and at what cost.
`DRAIN_ROUNDS` says how often each has its turn (5).
"""

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from django.db import connection

from celery_ledger.models import Job
from tests.bench import cpu
from tests.promises.processes import Tree
from tests.waiting import until

JOBS, WARM = 3000, 300
ROUNDS = int(os.environ.get("DRAIN_ROUNDS", "5"))
Tally = Callable[[], Counter[int]]


class Round(NamedTuple):
    per_s: float  # jobs
    workers_ms: float  # of the processors, a job
    postgres_ms: float
    wal: float  # bytes a job
    commits: float  # a job


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
