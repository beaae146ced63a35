"""Kill a dyno: nothing is lost and nothing happens twice."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, F, Sum
from django.utils import timezone
from redis import Redis

from celery_ledger.models import Job, Worker
from celery_ledger.worker.lead import LEAD
from notifications.models import Delivery, Event
from orders.inputs.order import OrderInput
from orders.models import Client, Order, Stock
from orders.payments.sandbox_book import SandboxCharge
from orders.tasks import forget_old_keys, place
from tests.celery_ledger.errors import error_of
from tests.promises import tasks
from tests.promises.processes import Stack, Tree, children_of
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
ORDERS, SEED = int(os.environ.get("KILLED_AMONG", "40")), 20261122
QUEUES = ("tally", *settings.LEDGER["QUEUES"])
TOKENS = ["tok_ok"] * 6 + ["tok_flaky", "tok_declined", "tok_webhook_twice", "tok_webhook_never"]


def place_orders(shop: Client, body: Callable[..., dict[str, Any]]) -> None:
    dice = random.Random(SEED)
    for index in range(ORDERS):
        draft = OrderInput.model_validate(
            body(external_id=f"o-{index}", payment={"token": dice.choice(TOKENS)})
        )
        with transaction.atomic():
            place(shop, draft)
            tasks.tally.apply_async((index,), queue="tally")


def catch_at_work(tree: Tree, number: int, *, at_least: int) -> list[UUID]:
    """Send the signal while the tree holds so many jobs of `tally`, and return them."""
    tallies = Job.objects.filter(state="running", task="tests.promises.tasks.tally")
    held = tallies.filter(worker__in=Worker.objects.filter(pid=tree.process.pid).values("pk"))
    for _ in range(100):
        until(lambda: held.count() >= at_least, "the worker is at work", within_s=60)
        tree.signal(signal.SIGSTOP)
        until(lambda: not sessions_at_work(), "nothing that was sent is under way", within_s=30)
        with (
            transaction.atomic()
        ):  # one that is locked is about to be settled, and nobody's to rescue
            caught = list(
                held.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True)
            )
        if len(caught) >= at_least and not leads_held():
            tree.signal(number)
            return caught
        tree.signal(signal.SIGCONT)
    raise AssertionError("the worker was never caught at work")


def finished() -> int:
    return Job.objects.filter(state="done").count()


def all_finished() -> bool:
    """Every job is done; one that can never be is a failure at once."""
    assert (
        list(Job.objects.filter(state__in=("dead", "cancelled")).values("task", "args", "error"))
        == []
    )
    return not Job.objects.exclude(state="done").exists()


@pytest.mark.timeout(240)
def test_a_worker_killed_again_and_again_loses_nothing_and_doubles_nothing(
    stack: Stack,
    broker: Redis,
    shop: Client,
    stock: Any,
    order_body: Callable[..., Any],
    tally: Callable[[], Counter[int]],
) -> None:
    """So many orders and unguarded effects; a worker tree is killed, one is frozen and wakes up as
    a ghost.

    The ghost holds jobs that others have done by then: without the fence in `SETTLE` it
    does them again.
    """
    stock(on_hand=1000)
    place_orders(shop, order_body)
    victim = start_worker(stack, "tally", *QUEUES)
    # it freezes in the middle of a transaction, and should hold no lock that others need
    ghost = start_worker(stack, "tally")
    until(lambda: finished() > ORDERS // 4, "some jobs are done", within_s=60)
    catch_at_work(victim, signal.SIGKILL, at_least=1)
    haunted = catch_at_work(ghost, signal.SIGSTOP, at_least=2)
    broker.flushdb()
    start_worker(stack, "tally", *QUEUES)
    until(lambda: done_by_others(haunted), "the ghost's jobs are done by others", within_s=60)
    ghost.signal(signal.SIGCONT)
    until(all_finished, "every job is done", within_s=120)
    time.sleep(1)  # the ghost has had its chance

    assert "Lease lost" in ghost.output(), (
        "the ghost never tried to settle, so the fence was not tested"
    )
    assert tally() == Counter(range(ORDERS))
    assert_every_order_ended_once()


def start_worker(stack: Stack, *queues: str) -> Tree:
    heard = ("--concurrency", "4", "--queues", ",".join(queues))
    return stack.start("worker", "--include", "tests.promises.tasks", *heard)


def done_by_others(haunted: list[UUID]) -> bool:
    done = Job.objects.filter(pk__in=haunted, state="done", losses=1)
    return done.count() == len(haunted)


def assert_every_order_ended_once() -> None:
    declined = Order.objects.filter(payment_token="tok_declined")
    assert declined.count() == declined.filter(state="cancelled", reason="payment_declined").count()
    others = Order.objects.exclude(payment_token="tok_declined")
    assert (
        others.count()
        == others.filter(state="confirmed", payment_state="paid", captured=F("total")).count()
    )
    assert Order.objects.count() == SandboxCharge.objects.count() == ORDERS
    charged = SandboxCharge.objects.filter(status="succeeded").aggregate(sum=Sum("amount"))["sum"]
    assert charged == Order.objects.aggregate(sum=Sum("captured"))["sum"] == 660 * others.count()
    stock = Stock.objects.annotate(book=Sum("movements__reserved_delta"))
    reserved, book = stock.values_list("reserved", "book").get()
    assert reserved == book == 2 * others.count()
    assert Event.objects.values("subject").annotate(n=Count("pk")).exclude(n=3).count() == 0
    assert (
        Delivery.objects.filter(state="delivered").count() == Delivery.objects.count() == 2 * ORDERS
    )


@pytest.mark.timeout(120)
def test_a_killed_child_is_noticed_by_its_parent_and_its_job_runs_again(
    stack: Stack, tally: Callable[[], Counter[int]]
) -> None:
    """Invariant I6: no lease has to run out for it."""
    for number in range(20):
        tasks.tally.delay(number)
    stack.start("worker", "--include", "tests.promises.tasks", "--concurrency", "1")
    until(lambda: Job.objects.filter(state="running").exists(), "somebody works", within_s=60)
    for hits in range(1, 4):
        os.kill(caught_child(), signal.SIGKILL)
        until(partial(have_been_lost, hits), "the loss is noticed", within_s=30)
    until(all_finished, "every job is done", within_s=60)
    assert tally() == Counter(range(20))


def caught_child() -> int:
    """A stopped pool process in the middle of a job: nothing that it has sent is still under way to
    Postgres.
    """
    running = Job.objects.filter(state="running")
    for _ in range(100):
        until(running.exists, "somebody works", within_s=30)
        pid = running.values_list("pid", flat=True).first()
        if not pid:
            continue
        os.kill(pid, signal.SIGSTOP)
        until(lambda: not sessions_at_work(), "Postgres has nothing to do", within_s=30)
        if running.filter(pid=pid).exists():
            return int(pid)
        os.kill(pid, signal.SIGCONT)
    raise AssertionError("no child was ever caught at work")


def sessions_at_work() -> int:
    """Statements that Postgres is working on; `tally` sleeping in its own changes nothing."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()"
            " AND query NOT LIKE '%pg_sleep%'"
        )
        return int(cursor.fetchone()[0])


def leads_held() -> int:
    """Clocks that have the lead. One that froze there would keep it, for here no session
    that is idle in its transaction is ended, and nobody else would ring.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [LEAD],
        )
        return int(cursor.fetchone()[0])


def losses() -> int:
    lost: int = Job.objects.aggregate(sum=Sum("losses"))["sum"]
    return lost


def have_been_lost(number: int) -> bool:
    return losses() == number


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_a_deploy_in_the_middle_of_work_costs_nothing_but_time(
    stack: Stack, tally: Callable[[], Counter[int]]
) -> None:
    """SIGTERM to every process, as a platform sends it: the jobs go on at once elsewhere, and
    nobody is blamed.
    """
    for number in range(40):
        tasks.tally.apply_async((number,), queue="tally")
    options = ("--include", "tests.promises.tasks", "--queues", "tally")
    for _ in range(3):
        worker = stack.start("worker", *options)
        catch_at_work(worker, signal.SIGTERM, at_least=1)
        worker.signal(signal.SIGCONT)
        worker.process.wait(timeout=30)
        assert not Job.objects.filter(state="running").exists(), "a stopped worker still holds jobs"
    stack.start("worker", *options)
    until(all_finished, "every job is done", within_s=30)
    assert (tally(), losses()) == (Counter(range(40)), 0)


@pytest.mark.soak
@pytest.mark.timeout(120)
@pytest.mark.parametrize("terms", [1, pytest.param(3, marks=pytest.mark.soak)])
def test_a_stopping_worker_finishes_what_is_short_and_gives_back_what_is_long(
    stack: Stack, tally: Callable[[], Counter[int]], terms: int
) -> None:
    """However often the platform says it, and to whichever process."""
    short, long = tasks.nap.delay(1, 3), tasks.nap.delay(2, 100)
    worker = stack.start("worker", "--include", "tests.promises.tasks", "--concurrency", "2")
    until(lambda: Job.objects.filter(state="running").count() == 2, "both run", within_s=60)
    for _ in range(terms):
        worker.signal(signal.SIGTERM)
        time.sleep(0.5)
    assert worker.process.wait(timeout=30) == 0
    assert (Job.objects.get(pk=short.id).state, tally()) == ("done", Counter([1]))
    job = Job.objects.get(pk=long.id)
    assert (job.state, job.attempts, job.losses, job.due_at <= timezone.now()) == (
        "waiting",
        1,
        0,
        True,
    )
    output = worker.output()
    assert [
        word for word in ("Traceback", "ERROR", "WorkerLostError", "signal 9") if word in output
    ] == []


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_a_stopping_worker_does_not_wait_for_a_process_that_has_no_job(
    stack: Stack, tally: Callable[[], Counter[int]]
) -> None:
    """Celery would, as when it has forgotten what it handed over in the moment of the stop."""
    options = ("--include", "tests.promises.tasks", "--concurrency", "1")
    # far longer than a process without a job is waited for
    own_drain = {"DJANGO_SETTINGS_MODULE": "config.settings"}
    worker = stack.start("worker", *options, **own_drain)
    until(lambda: "ready." in worker.output(), "the worker is ready", within_s=60)
    of_the_pool, _of_the_threads = children_of(worker.process.pid)
    os.kill(of_the_pool, signal.SIGSTOP)
    tasks.nap.delay(1, 0)
    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.process.wait(timeout=30) == 0
    assert "No job runs here any more, and still Celery waits" in worker.output()
    assert not Job.objects.exclude(state="waiting", attempts=0).exists()
    stack.start("worker", *options)
    until(all_finished, "somebody else does it", within_s=60)
    assert tally() == Counter([1])


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_a_worker_told_to_stop_at_once_does(stack: Stack) -> None:
    """SIGQUIT, Celery's cold shutdown; not the platform's word, but an operator's."""
    long = tasks.nap.delay(1, 100)
    worker = stack.start("worker", "--include", "tests.promises.tasks")
    until(lambda: Job.objects.filter(state="running").exists(), "it runs", within_s=60)
    os.kill(worker.process.pid, signal.SIGQUIT)
    worker.process.wait(timeout=20)
    job = Job.objects.get(pk=long.id)
    assert (job.state, job.attempts) == ("waiting", 1)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("task", "error"),
    [
        ("crash", "Lost"),
        pytest.param("poison", "Lost", marks=pytest.mark.soak),
        pytest.param("deaf", "TimeLimitExceeded", marks=pytest.mark.soak),
    ],
)
def test_a_job_that_takes_its_workers_with_it_stops_and_the_rest_go_on(
    stack: Stack, tally: Callable[[], Counter[int]], task: str, error: str
) -> None:
    """Invariant I7."""
    bad = getattr(tasks, task).delay()
    for number in range(10):
        tasks.tally.delay(number)
    worker = stack.start("worker", "--include", "tests.promises.tasks")
    until(lambda: Job.objects.get(pk=bad.id).state == "dead", "the bad job is dead", within_s=120)
    until(
        lambda: Job.objects.filter(state="done").count() == 10, "the others are done", within_s=60
    )
    job = Job.objects.get(pk=bad.id)
    assert (job.losses, job.attempts, error_of(job)["type"]) == (3, 3, error)
    assert tally() == Counter(range(10))
    assert worker.process.poll() is None


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_a_job_that_wants_too_much_memory_dies_of_it_alone(
    stack: Stack, tally: Callable[[], Counter[int]]
) -> None:
    """Where the limit strikes inside Python. The kernel's way is SIGKILL, see `poison` above."""
    bad = tasks.glutton.delay()
    tasks.tally.delay(1)
    stack.start("worker", "--include", "tests.promises.tasks", "--concurrency", "1")
    until(
        lambda: not Job.objects.filter(state__in=("waiting", "running")).exists(),
        "both have ended",
        within_s=60,
    )
    job = Job.objects.get(pk=bad.id)
    assert (job.state, job.attempts, job.losses, error_of(job)["type"]) == (
        "dead",
        1,
        0,
        "MemoryError",
    )
    assert tally() == Counter([1])


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_a_job_of_an_unknown_task_waits_in_sight_for_the_release_that_knows_it(
    stack: Stack, tally: Callable[[], Counter[int]]
) -> None:
    """A rolling deploy: the new web promises what the old workers do not know."""
    ahead = tasks.tally.delay(1)
    old = stack.start("worker")
    until(
        lambda: "tests.promises.tasks.tally" in old.output(),
        "the old release has heard its bell",
        within_s=60,
    )
    old_job = forget_old_keys.delay()
    until(
        lambda: Job.objects.get(pk=old_job.id).state == "done",
        "the old release goes on",
        within_s=30,
    )
    job = Job.objects.get(pk=ahead.id)
    assert (job.state, job.attempts, job.losses, old.process.poll()) == ("waiting", 0, 0, None)
    assert "this release knows no task tests.promises.tasks.tally" in stack.run(
        "manage.py", "jobs", "why", ahead.id
    )
    stack.start("worker", "--include", "tests.promises.tasks")
    until(all_finished, "the new release does it", within_s=60)
    assert tally() == Counter([1])
