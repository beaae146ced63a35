"""What limits by key cost a backlog that they do not hold up: jobs that each are made by
themselves, with and without, in turn. `DRAIN_ROUNDS` says how often (5).
"""

from functools import partial
from typing import Any

import pytest
from django.db import transaction

from celery_ledger.models import Job
from tests.bench.jobs.backlog import JOBS, Round, Tally, compare, measured
from tests.bench.peers import tasks
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
    compare({name: partial(drained, stack, task) for name, task in KINDS.items()}, tally)


def drained(stack: Stack, task: Any) -> Round:
    with transaction.atomic():
        for number in range(JOBS):
            task.delay(number, number % KEYS)
    return measured(stack.start("worker", "--include", "tests.bench.peers.tasks"))
