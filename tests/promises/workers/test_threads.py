"""Calls to the outside world run in threads of one process, and every promise holds there too."""

import os
import signal
from collections import Counter
from collections.abc import Callable

import pytest
from django.db import connection

from celery_ledger.models import Job
from tests.promises import tasks
from tests.promises.processes import Stack, Tree, children_of
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
CALLS = 60
DYNO = "threads"  # the name that it gives to Postgres here
Tally = Callable[[], Counter[int]]


def calls(state: str) -> int:
    return Job.objects.filter(task__startswith="tests.promises.tasks.call", state=state).count()


def begin(stack: Stack) -> Tree:
    return stack.start("worker", "--concurrency", "1", "--include", "tests.promises.tasks")


def at_work(stack: Stack, *, number: int = 1, seconds: float) -> Tree:
    """A worker in whose threads so many calls wait for so long."""
    for each in range(number):
        tasks.call.delay(each, seconds)
    worker = begin(stack)
    until(lambda: calls("running") == number, "all of them wait", within_s=60)
    return worker


def process_of_the_calls() -> int:
    """The pid that their rows name."""
    pid: int | None
    [pid] = set(Job.objects.filter(state="running").values_list("pid", flat=True))
    assert pid is not None
    return pid


@pytest.mark.soak
def test_many_calls_wait_at_once_beside_one_process_and_hold_no_connection(
    stack: Stack, tally: Tally
) -> None:
    stack.environment["DATABASE_URL"] += f"&application_name={DYNO}"
    worker = at_work(stack, number=CALLS, seconds=6)
    tasks.tally.delay(CALLS)
    until(lambda: tally() == Counter([CALLS]), "other work goes on meanwhile", within_s=30)
    assert calls("running") == CALLS
    assert len(children_of(worker.process.pid)) == 2
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [DYNO])
        [sessions] = cursor.fetchone()
    assert sessions <= 3, "the clock's, that of the one process, and one for all calls"
    until(lambda: calls("done") == CALLS, "all have ended", within_s=60)
    assert tally() == Counter(range(CALLS + 1))


def test_when_their_process_is_killed_every_call_is_made_again_in_another(
    stack: Stack, tally: Tally
) -> None:
    worker = at_work(stack, number=10, seconds=3)
    os.kill(pid := process_of_the_calls(), signal.SIGKILL)
    until(lambda: calls("done") == 10, "all have ended", within_s=60)
    assert tally() == Counter(range(10))
    assert {(job.losses, job.shared_losses) for job in Job.objects.all()} == {(0, 1)}
    assert pid not in set(Job.objects.values_list("pid", flat=True))
    assert "here is another" in worker.output()


@pytest.mark.soak
def test_a_frozen_process_is_killed_and_its_calls_are_made_again(
    stack: Stack, tally: Tally
) -> None:
    worker = at_work(stack, seconds=1)
    os.kill(process_of_the_calls(), signal.SIGSTOP)
    until(lambda: calls("done") == 1, "it has ended elsewhere", within_s=60)
    assert tally() == Counter([0])
    assert "is frozen" in worker.output()


@pytest.mark.soak
def test_a_worker_that_is_told_to_stop_lets_its_calls_end_and_begins_no_other(
    stack: Stack, tally: Tally
) -> None:
    worker = at_work(stack, seconds=3)
    worker.signal(signal.SIGTERM)
    until(lambda: "Warm shutdown" in worker.output(), "it was heard", within_s=30)
    tasks.call.delay(2, 0)
    assert worker.process.wait(timeout=60) == 0
    assert tally() == Counter([0])
    waiting = Job.objects.get(state="waiting")
    assert (waiting.attempts, Job.objects.get(state="done").losses) == (0, 0)


@pytest.mark.soak
def test_a_call_longer_than_its_drain_is_given_back_and_counts_as_no_loss(
    stack: Stack, tally: Tally
) -> None:
    worker = at_work(stack, seconds=100)
    worker.signal(signal.SIGTERM)
    worker.process.wait(timeout=60)
    job = Job.objects.get()
    assert (job.state, job.losses, job.attempts) == ("waiting", 0, 1)
    assert tally() == Counter()


@pytest.mark.soak
def test_time_limits_reach_a_thread(stack: Stack, tally: Tally) -> None:
    """The soft one is raised in it. Whoever does not heed the hard one costs the process its life
    when the others in it are done, and only itself a loss.
    """
    tasks.call_in_short_naps.delay(1)
    for number in range(2, 6):
        tasks.call.delay(number, 4)
    hanging = tasks.call_for_ever.delay(9)
    begin(stack)
    until(lambda: calls("done") == 5, "the others have ended", within_s=60)
    assert tally() == Counter(range(1, 6))
    row = Job.objects.filter(pk=hanging.id)
    until(lambda: row.filter(losses__gte=1).exists(), "it was lost", within_s=60)
    assert set(Job.objects.exclude(pk=hanging.id).values_list("losses", flat=True)) == {0}
    assert "ran longer than its time_limit" in str(row.get().error)


@pytest.mark.soak
def test_a_call_that_crashes_its_process_dies_and_takes_no_other_job_with_it(
    stack: Stack, tally: Tally
) -> None:
    for number in range(20):
        tasks.call.delay(number, 1)
    poison = tasks.call_and_crash.delay()
    begin(stack)
    until(
        lambda: not Job.objects.filter(state__in=("waiting", "running")).exists(),
        "all have ended",
        within_s=100,
    )
    assert tally() == Counter(range(20))
    assert Job.objects.get(state="dead").pk.hex == poison.id.replace("-", "")


@pytest.mark.soak
def test_without_a_pool_of_processes_a_threaded_task_runs_as_any_other(
    stack: Stack, tally: Tally
) -> None:
    stack.start("worker", "--pool", "solo", "--include", "tests.promises.tasks")
    tasks.call.delay(1, 0)
    until(lambda: calls("done") == 1, "it has ended", within_s=60)
    assert tally() == Counter([1])
