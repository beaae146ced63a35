"""Many short jobs at once are settled by few commits, and every promise holds inside a batch."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from django.db import connection, transaction
from django.db.models import Sum

from celery_ledger.models import Job
from tests.promises import tasks
from tests.promises.processes import Stack, Tree
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
QUICK = range(400)
Tally = Callable[[], Counter[int]]


def promise(numbers: Iterable[int], seconds: float = 0) -> None:
    with transaction.atomic():
        for number in numbers:
            tasks.count_or_wait.delay(number, seconds)


def begin(stack: Stack) -> Tree:
    return stack.start("worker", "--concurrency", "1", "--include", "tests.promises.tasks")


def all_have_ended() -> bool:
    return not Job.objects.filter(state__in=("waiting", "running")).exists()


def commits() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM celery_ledger_job")
        number: int = cursor.fetchone()[0]
    return number


@pytest.mark.soak
def test_a_backlog_of_short_jobs_is_settled_by_few_commits(stack: Stack, tally: Tally) -> None:
    promise(QUICK)
    begin(stack)
    until(all_have_ended, "all are done", within_s=60)
    assert tally() == Counter(QUICK)
    assert commits() < len(QUICK) / 2
    assert set(Job.objects.values_list("state", "attempts")) == {("done", 1)}


@pytest.mark.soak
def test_a_process_that_is_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    stack: Stack, tally: Tally
) -> None:
    for first in (0, 100):
        promise(range(first, first + 99))
        promise([first + 99], seconds=1)
    begin(stack)
    kills = 0
    while not all_have_ended():
        kills += kill_a_batch()
    assert kills >= 1
    assert tally() == Counter(range(200))
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}
    assert Job.objects.aggregate(n=Sum("shared_losses"))["n"] >= 2 * kills


def kill_a_batch() -> bool:
    """The process that holds several jobs, if there is one."""
    held = Counter(Job.objects.filter(state="running").values_list("pid", flat=True))
    pid, number = max(held.items(), key=lambda item: item[1], default=(None, 0))
    if pid is None or number < 2:
        return False
    os.kill(pid, signal.SIGKILL)
    lost = Job.objects.filter(state="running", pid=pid)
    until(lambda: not lost.exists(), "its jobs are given back", within_s=30)
    return True


@pytest.mark.soak
def test_one_that_takes_its_process_down_dies_and_takes_none_of_its_batch_with_it(
    stack: Stack, tally: Tally
) -> None:
    promise(QUICK)
    promise([1000], seconds=-1)
    promise(range(400, 440))
    worker = begin(stack)
    until(all_have_ended, "all have ended", within_s=60)
    assert tally() == Counter(range(440))
    [dead] = Job.objects.exclude(state="done")
    assert (dead.args[0], dead.state, dead.losses) == ([1000, -1], "dead", 3)
    assert set(Job.objects.filter(state="done").values_list("losses", flat=True)) == {0}
    assert "one of several" not in worker.output().lower(), "nobody was at fault in any batch"
