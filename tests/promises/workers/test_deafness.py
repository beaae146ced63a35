"""Break the parts inside a worker's main process: it begins again what is due, or starts anew."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from redis import Redis

from celery_ledger.models import Job
from tests.promises.included import inside
from tests.promises.processes import Stack, Tree
from tests.promises.tasks import tally as count
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak, pytest.mark.timeout(300)]
CURED_S = 90


@pytest.fixture
def begin(stack: Stack, tmp_path: Path) -> Callable[[], Tree]:
    """A worker that obeys, and has done a job on each of its processes."""
    included = "tests.promises.tasks,tests.promises.included.inside"

    def started() -> Tree:
        return stack.start(
            "worker",
            *("--include", included, "--concurrency", "2"),
            DJANGO_SETTINGS_MODULE="tests.promises.settings.deaf",
            INSIDE=str(tmp_path),
        )

    return started


def promise(number: int) -> None:
    """A process whose result is not read counts as busy for as long as its time limit says."""
    count.apply_async((number,), soft_time_limit=5, time_limit=8)


def done() -> int:
    return Job.objects.filter(state="done").count()


def break_inside(worker: Tree, fault: str, folder: Path) -> None:
    path = inside.order(folder, fault, worker.process.pid)
    until(lambda: not path.exists(), "the fault is there", within_s=30)


def broken(worker: Tree, fault: str, folder: Path) -> Tree:
    """After it has shown that it works."""
    for number in range(6):
        promise(number)
    until(lambda: done() == 6, "the worker works", within_s=60)
    break_inside(worker, fault, folder)
    return worker


@pytest.mark.parametrize(
    ("fault", "cure"),
    [
        ("cancel_consumer", "its consumer connects anew"),
        pytest.param("keep_places", "its consumer connects anew", marks=pytest.mark.soak),
        pytest.param("keep_slots", "its consumer connects anew", marks=pytest.mark.soak),
        pytest.param(
            "forget_pipes_to_processes", "its idle processes are replaced", marks=pytest.mark.soak
        ),
        pytest.param(
            "forget_pipes_of_processes", "its consumer connects anew", marks=pytest.mark.soak
        ),
        ("stop_processes", "its idle processes are replaced"),
    ],
)
def test_a_worker_that_is_broken_inside_is_cured_and_does_what_is_due(
    begin: Callable[[], Tree],
    tally: Callable[[], Counter[int]],
    tmp_path: Path,
    fault: str,
    cure: str,
) -> None:
    worker = broken(begin(), fault, tmp_path)
    for number in range(6, 40):
        promise(number)
    until(lambda: done() == 40, "what was due is done", within_s=CURED_S)
    assert tally() == Counter(range(40))
    assert cure in worker.output()
    assert worker.process.poll() is None


@pytest.mark.parametrize(
    ("fault", "last_words"),
    [
        pytest.param(
            "cut_pipes_to_processes",
            "it ends, for the platform to start it anew",
            marks=pytest.mark.soak,
        ),
        pytest.param("starve_the_loop", "it is killed", marks=pytest.mark.soak),
        ("end_with_an_error", "Unrecoverable error"),
    ],
)
def test_a_worker_that_cannot_be_cured_ends_so_that_the_platform_starts_another(
    begin: Callable[[], Tree],
    tally: Callable[[], Counter[int]],
    tmp_path: Path,
    fault: str,
    last_words: str,
) -> None:
    worker = broken(begin(), fault, tmp_path)
    for number in range(6, 20):
        promise(number)
    until(lambda: worker.process.poll() is not None, "it ends", within_s=CURED_S)
    assert worker.process.returncode != 0, "a platform may take 0 for the end of the work"
    assert last_words in worker.output()
    begin()
    until(lambda: done() == 20, "what was due is done", within_s=60)
    assert tally() == Counter(range(20))


def test_a_process_that_is_stopped_is_replaced_while_the_other_works(
    begin: Callable[[], Tree], tally: Callable[[], Counter[int]], tmp_path: Path
) -> None:
    """Half a worker is no worker that is well: each of its bells waits for nobody."""
    worker = begin()
    numbers = iter(range(1000))
    promise(next(numbers))
    until(lambda: done() == 1, "the worker works", within_s=60)
    break_inside(worker, "stop_one_process", tmp_path)

    def is_replaced() -> bool:
        if Job.objects.filter(state="waiting").count() < 100:
            for _ in range(20):
                promise(next(numbers))
        return "its idle processes are replaced" in worker.output()

    until(is_replaced, "the stopped process is replaced", within_s=CURED_S)
    promised = next(numbers)
    until(lambda: done() == promised, "what was due is done", within_s=CURED_S)
    assert tally() == Counter(range(promised))
    assert worker.process.poll() is None


def test_what_a_flush_took_does_not_wait_while_calls_that_are_never_answered_are_rung(
    begin: Callable[[], Tree], tally: Callable[[], Counter[int]], broker: Redis
) -> None:
    """They keep the queue from being empty; jobs of a backlog, rung often before, waited minutes
    for their back-off, and nothing else moved.
    """
    for number in range(20):
        count.apply_async((number,), queue="outside")
    later = timezone.now() + timedelta(seconds=250)
    Job.objects.update(due_at=timezone.now() - timedelta(seconds=250), rings=6, ring_at=later)
    broker.flushdb()
    for _ in range(12):
        inside.is_never_answered.apply_async(queue="outside")
    begin()
    until(lambda: done() == 20, "the backlog is done", within_s=90)
    assert tally() == Counter(range(20))
