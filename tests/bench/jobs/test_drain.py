"""A backlog of small jobs, worked off by two processes: by the ledger, by a bare loop over a table
and by Celery as people tune it, in turn. `DRAIN_ROUNDS` says how often (5).
"""

import sys
from functools import partial

import pytest
from django.db import transaction

from celery_ledger import context, ledger_settings
from celery_ledger.models import Job
from tests.bench.jobs.backlog import JOBS, Round, Tally, compare, measured
from tests.bench.peers.tasks import count_durably
from tests.bench.peers.work import Work
from tests.promises.processes import PROGRAMS, Stack

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1500)]


def test_a_backlog(stack: Stack, tally: Tally, work: None) -> None:
    Job.objects.all().delete()
    peers = {
        "bare loop": partial(by_loop, stack),
        "tuned Celery": partial(by_celery, stack),
        "ledger": partial(by_ledger, stack),
        "of 20 owners": partial(by_ledger, stack, owners=20),
    }
    compare(peers, tally)


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
