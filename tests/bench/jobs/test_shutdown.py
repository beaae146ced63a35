"""How a worker dyno ends: SIGTERM to every process, once or three times, SIGKILL after 30 s. Pools
side by side.
"""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import pytest
from django.db.models import Sum
from redis import Redis

from celery_ledger.models import Job
from tests.promises import tasks
from tests.promises.processes import Stack, Tree
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1200)]

STOP_S = 30
# the tests' own drain for a shorter time
OWN_SETTINGS = {"DJANGO_SETTINGS_MODULE": "config.settings"}
POOLS: dict[str, list[str]] = {"prefork": [], "threads": ["--pool", "threads"]}
WORK: dict[str, tuple[int, float]] = {
    "two-of-5-s": (2, 5),
    "two-of-60-s": (2, 60),
    "3000-of-1-ms": (3000, 0.001),
}


@pytest.mark.parametrize("terms", [1, 3])
@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("pool", POOLS)
def test_how_a_worker_ends(
    stack: Stack, tally: Callable[[], Counter[int]], broker: Redis, pool: str, work: str, terms: int
) -> None:
    number, seconds = WORK[work]
    for index in range(number):
        tasks.nap.delay(index, seconds)
    worker = stack.start(
        "worker", "--include", "tests.promises.tasks", *POOLS[pool], **OWN_SETTINGS
    )
    until(lambda: at_work(number), "the worker is at work", within_s=60)
    before = sum(tally().values())
    gone_s = end(worker, terms)
    finished = sum(tally().values()) - before
    held = Job.objects.filter(state="running").count()
    losses = Job.objects.aggregate(n=Sum("losses"))["n"]
    assert set(tally().values()) == ({1} if tally() else set()), "none is done twice"
    assert Job.objects.filter(state="done").count() == before + finished
    print(
        f"\n{pool} | {work} | {terms} x SIGTERM | finished {finished}, still held {held}, "
        f"losses {losses},"
        f" gone after {gone_s:.1f} s"
    )


def at_work(number: int) -> bool:
    return (
        Job.objects.filter(state="done").count() > 300
        if number > 2
        else (Job.objects.filter(state="running").count() == number)
    )


def end(worker: Tree, terms: int) -> float:
    """Seconds until the dyno is empty."""
    start = time.monotonic()
    for _ in range(terms):
        worker.signal(signal.SIGTERM)
        time.sleep(0.5)
        if worker.process.poll() is not None:
            break
    try:
        worker.process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        worker.kill()
    return time.monotonic() - start
