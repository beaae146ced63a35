"""What limits by key cost a backlog that they do not hold up: jobs that each are made by
themselves, with and without, in turn. `DRAIN_ROUNDS` says how often (5).
"""

import statistics
from collections import Counter
from typing import Any

import pytest
from django.db import transaction

from celery_ledger.models import Job
from tests.bench.peers import tasks
from tests.bench.test_drain import JOBS, ROUNDS, Round, Tally, empty_the_tables, measured
from tests.promises.processes import Stack

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1500)]
KEYS = 50
KINDS = {
    "no limit": tasks.count_by_itself,
    "a place of 1000": tasks.count_in_a_place,
    "a slot at once": tasks.count_in_a_slot,
}


@pytest.mark.usefixtures("work")
def test_limits_that_hold_nobody_up(stack: Stack, tally: Tally) -> None:
    Job.objects.all().delete()
    rounds: dict[str, list[Round]] = {name: [] for name in KINDS}
    for number in range(ROUNDS):
        in_turn = [*KINDS.items()][:: 1 if number % 2 else -1]
        for name, task in in_turn:
            rounds[name].append(drained(stack, task))
            assert tally() == Counter(range(JOBS)), name
            empty_the_tables()
    print(f"\n{JOBS} jobs of {KEYS} keys, worked off by two processes; medians of {ROUNDS} rounds")
    print(f"  {'':16} jobs/s  × none  workers  Postgres ms a job  WAL B  commits a job")
    middle = {
        name: Round(*map(statistics.median, zip(*of, strict=True))) for name, of in rounds.items()
    }
    for name, of in middle.items():
        ratio = of.per_s / middle["no limit"].per_s
        print(
            f"  {name:16} {of.per_s:6.0f} {ratio:7.2f} {of.workers_ms:8.2f} {of.postgres_ms:9.2f}"
            f" {of.wal:15.0f} {of.commits:9.2f}"
        )


def drained(stack: Stack, task: Any) -> Round:
    with transaction.atomic():
        for number in range(JOBS):
            task.delay(number, number % KEYS)
    return measured(stack.start("worker", "--include", "tests.bench.peers.tasks"))
