"""Limits by key: how many jobs run at once, or begin in a time, whichever process claims them."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from itertools import pairwise
from mmap import mmap
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import current_app as celery_app
from celery.exceptions import Ignore, Retry
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis import Redis

from celery_ledger import context, explain, ledger_settings, pausing, together
from celery_ledger.checks import objections
from celery_ledger.errors import CannotBeStored
from celery_ledger.execution.batch import may_be_in_one
from celery_ledger.execution.limited import claim_within
from celery_ledger.execution.turns import forget_looks
from celery_ledger.models import Claim, Job, JobQuerySet, PauseKind, Rate, Settled
from celery_ledger.operations import interventions
from celery_ledger.testing import attempt, work_off, worker
from celery_ledger.threads.process import Threads
from celery_ledger.worker.clock import Clock
from celery_ledger.worker.lines import Lines
from celery_ledger.worker.pruner import Pruner
from tests.celery_ledger import tasks
from tests.postgres.hands import Barrier, Hand, in_threads
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def of_the_first_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one `note` of each name run at a time. `add` shares the keys of names that are
    numbers.
    """
    monkeypatch.setattr(tasks.note, "concurrency", "n:{name}=1")
    monkeypatch.setattr(tasks.add, "concurrency", "n:{x}=1")


@pytest.fixture
def in_body(monkeypatch: pytest.MonkeyPatch) -> Barrier:
    """A barrier in which the first body of `note` waits."""
    barrier = Barrier()

    def body(name: str) -> str:
        barrier()
        return name

    monkeypatch.setattr(tasks.note, "run", body)
    return barrier


def promised(name: str = "a", **options: Any) -> Job:
    return Job.objects.get(pk=tasks.note.apply_async((name,), **options).id)


def begun(job: Job) -> list[Claim]:
    limits = job.envelope["headers"]["timelimit"]
    return claim_within(job.pk, celery_app.tasks[job.task], limits)


def in_line() -> list[UUID]:
    return list(Job.objects.in_line().order_by("created_at").values_list("pk", flat=True))


def clock() -> Clock:
    return Clock(celery_app, worker=uuid4(), name="test@here")


def states(*jobs: Job) -> list[str]:
    found = Job.objects.in_bulk([job.pk for job in jobs])
    return [found[job.pk].state for job in jobs]


# --- so many at once ------------------------------------------------------------------------------


def test_two_that_take_the_last_place_at_the_same_moment_share_nothing(
    one: Hand, two: Hand
) -> None:
    first, second = promised(), promised()
    one.open_transaction()
    assert len(one.do(lambda: begun(first))) == 1
    other = two.begin(lambda: begun(second))
    two.wait_until_blocked()
    one.commit()
    assert other.result(timeout=20) == []
    assert (states(first, second), in_line()) == (["running", "waiting"], [second.pk])


def test_hands_that_claim_at_once_never_run_more_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.note, "concurrency", "n:{name}=3")
    for _ in range(5):
        Job.objects.all().delete()
        jobs, together_now = [promised() for _ in range(8)], threading.Barrier(8)

        def claim(job: Job, start: threading.Barrier = together_now) -> int:
            connection.ensure_connection()
            start.wait(timeout=20)
            return len(begun(job))

        assert sum(in_threads(claim, jobs)) == 3
        assert Job.objects.filter(state="running").count() == 3
        assert len(in_line()) == 5


def test_each_that_waits_runs_in_the_end_and_all_places_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, most, bodies, lock = Counter[str](), Counter[str](), Counter[str](), threading.Lock()

    def body(name: str) -> None:
        with lock:
            now[name] += 1
            bodies[name] += 1
            most[name] = max(most[name], now[name])
        threading.Event().wait(0.01)  # the others come meanwhile
        with lock:
            now[name] -= 1

    monkeypatch.setattr(tasks.note, "run", body)
    monkeypatch.setattr(tasks.note, "concurrency", "n:{name}=2")
    for number in range(24):
        promised("ab"[number % 2])
    for _ in range(100):
        due = list(Job.objects.filter(state="waiting", due_at__lte=Now()))
        if not due:
            break
        in_threads(attempt, due)
        # those that met somebody who was being settled look again in a second
        soon = Now() + timedelta(seconds=ledger_settings.LIMIT_SOON_S)
        Job.objects.in_line().filter(due_at__lte=soon).update(due_at=Now())
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}
    assert bodies == {"a": 12, "b": 12}
    assert most == {"a": 2, "b": 2}


def test_keys_do_not_hold_each_other_up_and_tasks_share_them() -> None:
    running, other = promised("7"), promised("8")
    same_key = Job.objects.get(pk=tasks.add.delay(7, 1).id)
    assert [len(begun(job)) for job in (running, other, same_key)] == [1, 1, 0]
    assert in_line() == [same_key.pk]


def test_each_task_heeds_its_own_number_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.add, "concurrency", "n:{x}=3")
    adds = [Job.objects.get(pk=tasks.add.delay(7, 1).id) for _ in range(4)]
    assert [len(begun(job)) for job in (adds[0], promised("7"), *adds[1:])] == [1, 0, 1, 1, 0]


def test_a_number_alone_is_of_the_task_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.note, "concurrency", 2)
    assert [len(begun(promised(name))) for name in "abc"] == [1, 1, 0]


def test_a_row_from_before_the_limit_is_held_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.note, "rate_limit", "n:{name}=1000/s")
    for _ in range(2):
        promised()
    odd = [promised(), promised()]
    Job.objects.update(concurrency_key=None, rate_key=None)
    Job.objects.filter(pk__in=[job.pk for job in odd]).update(args=[[["no key"]], {}])
    claims = [len(begun(job)) for job in Job.objects.order_by("created_at")]
    assert claims == [1, 0, 1, 0]
    keys = Job.objects.order_by("created_at").values_list("concurrency_key", flat=True)
    assert [*keys] == ["key n:a"] * 2 + [f"task {tasks.note.name}"] * 2


# --- who is next ----------------------------------------------------------------------------------


def test_whoever_has_waited_longest_is_brought_when_one_ends_and_is_rung_for(
    one: Hand, in_body: Barrier, broker: Redis
) -> None:
    running, *others = (promised() for _ in range(4))
    ended = one.begin(lambda: attempt(running))
    in_body.wait_until_reached()
    for job in reversed(others):
        attempt(job)
    assert in_line() == [job.pk for job in others]
    broker.flushdb()
    in_body.open()
    ended.result(timeout=20)
    for place, job in enumerate(others, 1):
        assert in_line() == [other.pk for other in others[place:]]
        assert (broker.llen("kaiten"), states(job)) == (place, ["waiting"])
        attempt(job)
        assert states(job) == ["done"]
    assert broker.llen("kaiten") == len(others)


def test_a_thousand_that_wait_are_not_rung_for(broker: Redis) -> None:
    begun(promised())
    with together():
        for _ in range(1000):
            tasks.note.delay("a")
    in_threads(begun, list(Job.objects.filter(state="waiting")), hands=2)
    assert len(in_line()) == 1000
    broker.flushdb()
    soon = Now() + timedelta(seconds=30)
    assert not Job.objects.filter(state="waiting", ring_at__lte=soon).exists()
    assert clock().ringer.ring() == broker.llen("kaiten") == 0


def test_a_line_whose_next_nobody_would_bring_is_found_by_the_clock(
    one: Hand, in_body: Barrier, monkeypatch: pytest.MonkeyPatch, broker: Redis
) -> None:
    """The process died between the commit of an end and what follows it."""
    running, waits, behind = promised(), promised(), promised()
    ended = one.begin(lambda: attempt(running))
    in_body.wait_until_reached()
    attempt(waits)
    attempt(behind)
    clock().lines.look()
    assert in_line() == [waits.pk, behind.pk]  # whoever runs has word
    bring = celery_app.amqp.bring
    monkeypatch.setattr(celery_app.amqp, "bring", lambda keys: None)
    in_body.open()
    ended.result(timeout=20)
    monkeypatch.setattr(celery_app.amqp, "bring", bring)
    assert (states(running), in_line()) == (["done"], [waits.pk, behind.pk])
    broker.flushdb()
    clock().lines.look()
    assert (in_line(), broker.llen("kaiten")) == ([behind.pk], 1)
    attempt(waits)
    assert (states(waits), in_line()) == (["done"], [])
    attempt(behind)
    assert states(behind) == ["done"]


def test_a_look_is_at_so_many_lines_and_the_next_one_goes_on(settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "LIMIT_SWEEP_KEYS": 2}
    for name in "abcde":
        begun(promised(name))
        begun(promised(name))
    Job.objects.filter(state="running").delete()  # nobody brings the next
    lines, left = clock().lines, []
    for _ in range(4):
        lines.look()
        left.append(len(in_line()))
    assert left == [3, 1, 0, 0]


def test_a_clock_looks_for_lines_where_a_task_is_limited(settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "LIMIT_SWEEP_S": 0}
    begun(promised())
    begun(promised())
    Job.objects.filter(state="running").delete()
    app = SimpleNamespace(amqp=celery_app.amqp, tasks={})
    Lines(app).look_now_and_then()
    assert len(in_line()) == 1
    app.tasks = {tasks.note.name: tasks.note}
    Lines(app).look_now_and_then()
    assert in_line() == []


def test_an_end_that_comes_while_somebody_gets_in_line_is_seen(
    one: Hand, in_body: Barrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, waits = promised(), promised()
    ended = one.begin(lambda: attempt(running))
    in_body.wait_until_reached()
    leave_word = JobQuerySet.leave_word

    def after_the_end(self: JobQuerySet, *place: Any, **places: Any) -> bool:
        in_body.open()
        ended.result(timeout=20)
        return leave_word(self, *place, **places)

    monkeypatch.setattr(JobQuerySet, "leave_word", after_the_end)
    attempt(waits)
    assert (states(running), in_line()) == (["done"], [])
    assert Job.objects.filter(pk=waits.pk, due_at__lte=Now()).exists()


def test_whoever_meets_one_that_is_being_settled_looks_again_soon(one: Hand) -> None:
    """It has read already whether anybody waits, so word cannot reach it."""
    running, waits = promised(), promised()
    [claim] = begun(running)
    one.open_transaction()
    assert one.do(lambda: Job.objects.settle_in_place(Settled(claim, 1, []))) is False
    assert begun(waits) == []
    waits.refresh_from_db()
    assert waits.due_at <= timezone.now() + timedelta(seconds=ledger_settings.LIMIT_SOON_S)
    one.commit()
    Job.objects.filter(pk=waits.pk).update(due_at=Now())
    assert len(begun(waits)) == 1


def test_one_that_came_out_of_the_line_brings_those_for_whom_there_is_a_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E.g. after a release that has raised the number of places."""
    jobs = [promised() for _ in range(4)]
    for job in jobs:
        begun(job)
    monkeypatch.setattr(tasks.note, "concurrency", "n:{name}=3")
    Job.objects.filter(pk=jobs[1].pk).update(due_at=Now())
    for job in jobs[1:]:
        begun(job)
    assert states(*jobs) == ["running"] * 3 + ["waiting"]


# --- whatever ends an attempt ---------------------------------------------------------------------


def retried(name: str) -> None:
    raise Retry("later", when=60)


def dead(name: str) -> None:
    raise ValueError(name)


def ignored(name: str) -> None:
    raise Ignore(name)


def replaced(name: str) -> None:
    raise tasks.note.replace(tasks.speak.s(1))


@pytest.mark.parametrize("end", [retried, dead, ignored, replaced])
def test_however_it_ends_the_next_is_brought(
    one: Hand, monkeypatch: pytest.MonkeyPatch, end: Callable[[str], None]
) -> None:
    barrier = Barrier()

    def body(name: str) -> None:
        barrier()
        end(name)

    monkeypatch.setattr(tasks.note, "run", body)
    first, second = promised(), promised()
    ended = one.begin(lambda: attempt(first))
    barrier.wait_until_reached()
    attempt(second)
    assert in_line() == [second.pk]
    barrier.open()
    ended.result(timeout=20)
    assert (Job.objects.filter(state="running").count(), in_line()) == (0, [])
    assert not Job.objects.filter(state="waiting", place__isnull=False).exists()
    assert len(begun(second)) == 1


@pytest.mark.parametrize("how", ["rescued", "stopped"])
def test_the_place_of_a_lost_job_is_given_back(how: str) -> None:
    first, second = promised(), promised()
    ours = clock()
    begun(first)
    begun(second)
    Job.objects.filter(pk=first.pk).update(lease_until=Now() - MINUTE, worker=ours.worker)
    if how == "rescued":
        assert ours.rescuer.rescue() == 1
    else:
        ours.rescuer.leave()
    assert (states(first, second), in_line()) == (["waiting", "waiting"], [])
    assert [len(begun(job)) for job in (second, first)] == [1, 0]


def test_one_that_comes_too_late_gives_its_place_back() -> None:
    begun(promised())
    late, behind = promised(expires=timezone.now() + MINUTE), promised()
    begun(late)
    begun(behind)
    envelope = Job.objects.get(pk=late.pk).envelope
    envelope["headers"]["expires"] = (timezone.now() - MINUTE).isoformat()
    Job.objects.filter(pk=late.pk).update(envelope=envelope, due_at=Now())
    Job.objects.filter(state="running").delete()
    attempt(late)
    assert (states(late), in_line()) == (["cancelled"], [])


def test_a_place_that_was_offered_to_one_that_is_cancelled_is_offered_to_the_next() -> None:
    running, offered, behind = promised(), promised(), promised()
    for job in (running, offered, behind):
        begun(job)
    Job.objects.filter(pk=running.pk).delete()
    celery_app.amqp.bring(["key n:a"])
    assert in_line() == [behind.pk]
    interventions.cancel(Job.objects.filter(pk=offered.pk), by="ann")
    assert (states(offered), in_line()) == (["cancelled"], [])
    assert Job.objects.get(pk=offered.pk).in_line_since is None


def test_what_is_paused_is_passed_over_and_brought_when_it_is_resumed() -> None:
    running = promised("7")
    paused = Job.objects.get(pk=tasks.add.delay(7, 1).id)
    other = promised("7")
    for job in (running, paused, other):
        begun(job)
    pausing.pause(PauseKind.TASK, tasks.add.name, by="ann")
    Job.objects.filter(pk=running.pk).delete()
    celery_app.amqp.bring(["key n:7"])
    assert in_line() == [paused.pk]
    Job.objects.filter(pk=other.pk).delete()
    pausing.resume(PauseKind.TASK, tasks.add.name, by="ann")
    assert in_line() == []
    work_off()
    assert states(paused) == ["done"]


def test_what_is_paused_takes_no_place_and_stands_in_no_line() -> None:
    begun(promised())
    pausing.pause(PauseKind.TASK, tasks.note.name, by="ann")
    assert begun(promised()) == []
    assert in_line() == []


# --- beside the rest of the ledger ----------------------------------------------------------------


def test_the_threads_begin_no_more_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.call, "concurrency", "n:{number}=2")
    for number in (1, 1, 1, 1, 2):
        tasks.call.apply_async((number,), queue="outside")
    threads, begins = Threads(celery_app, "here", read_end=0, pulse=mmap(-1, 1)), Counter[int]()

    def begin(task: Any, claim: Claim, job: Any) -> None:
        begins[claim.args[0]] += 1

    monkeypatch.setattr(threads, "_begin", begin)
    threads._take_what_is_due()
    assert (begins, len(in_line())) == ({1: 2, 2: 1}, 2)
    threads._take_what_is_due()
    assert begins.total() == 3


def test_limited_jobs_share_no_transaction_and_take_nobodys_turn() -> None:
    assert not may_be_in_one(tasks.note)
    assert may_be_in_one(tasks.speak)
    with context.bound(**{ledger_settings.OWNER: "b"}):
        limited = promised()
    job = Job.objects.get(pk=tasks.speak.delay(1).id)
    attempt(job)
    assert states(job, limited) == ["done", "waiting"]


def statements(task: Any, name: str) -> list[str]:
    """The statements of an attempt at a job of this task."""
    forget_looks()
    with CaptureQueriesContext(connection) as heard:
        attempt(Job.objects.get(pk=task.delay(name).id))
    return [query["sql"] for query in heard]


def test_a_limit_that_holds_nobody_up_costs_no_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    in_place = statements(tasks.note, "a")
    monkeypatch.setattr(tasks.note, "concurrency", None)
    without = statements(tasks.note, "b")
    monkeypatch.setattr(tasks.note, "rate_limit", "n:{name}=1000000/s")
    in_slot = statements(tasks.note, "c")
    assert len(in_place) == len(in_slot) == len(without)
    assert not any("rate_key" in sql for sql in without if not sql.startswith("SELECT"))


def test_a_worker_of_one_thread_keeps_to_them(
    monkeypatch: pytest.MonkeyPatch, broker: Redis
) -> None:
    """Celery's own worker could not read such a rate."""
    monkeypatch.setattr(tasks.note, "rate_limit", "n:{name}=1000/s")
    running, waits = promised(), promised()
    [claim] = begun(running)
    with worker():
        until(lambda: in_line() == [waits.pk], "it stands in line", within_s=30)
        assert Job.objects.settle_in_place(Settled(claim, 1, [])) is True
        celery_app.amqp.bring(["key n:a"])
        until(lambda: states(waits) == ["done"], "it has run", within_s=30)


def why(job: Job) -> str:
    output = StringIO()
    call_command("jobs", "why", str(job.pk), stdout=output)
    return output.getvalue()


def test_whoever_asks_is_told() -> None:
    running, waits = promised("17"), promised("17")
    begun(running)
    assert "not running because 1 of n:17 is running, as many as may." in why(waits)
    begun(waits)
    sentences = why(waits)
    assert "It has stood in line for a place since" in sentences
    assert "not running because 1 of n:17 is running, as many as may." in sentences
    assert "not due" not in sentences
    Job.objects.filter(pk=running.pk).delete()
    assert "it has not seen yet that n:17 has a place." in (explain(waits.pk) or "")


# --- so many in a while ---------------------------------------------------------------------------


@pytest.fixture
def at_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    for task, key in ((tasks.note, "name"), (tasks.add, "x")):
        monkeypatch.setattr(task, "concurrency", None)
        monkeypatch.setattr(task, "rate_limit", f"n:{{{key}}}=1/m")


def test_slots_are_of_a_key_whichever_task_it_is_of(at_a_rate: None) -> None:
    jobs = [promised(name) for name in ("7", "8", "7")]
    jobs.append(Job.objects.get(pk=tasks.add.delay(7, 1).id))
    for job in jobs:
        attempt(job)
    assert states(*jobs) == ["done", "done", "waiting", "waiting"]
    slots = [Job.objects.get(pk=job.pk).due_at - timezone.now() for job in jobs[2:]]
    assert [round(slot / MINUTE) for slot in slots] == [1, 2]
    assert {*Rate.objects.values_list("task", flat=True)} == {"key n:7", "key n:8"}


def test_hands_that_claim_at_once_take_one_slot(at_a_rate: None) -> None:
    jobs = [promised() for _ in range(6)]
    in_threads(attempt, jobs, hands=6)
    assert Job.objects.filter(state="done").count() == 1
    later = Job.objects.filter(state="waiting").order_by("due_at").values_list("due_at", flat=True)
    gaps = [round((b - a) / MINUTE) for a, b in pairwise(later)]
    assert gaps == [1, 1, 1, 1]


def test_rates_whose_time_has_passed_are_forgotten(at_a_rate: None, settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "BATCH": 2}
    for name in "abcd":
        attempt(promised(name))
    Rate.objects.exclude(task="key n:d").update(next_at=Now() - MINUTE)
    assert Pruner().prune() == 2
    assert Pruner().prune() == 1
    assert [rate.task for rate in Rate.objects.all()] == ["key n:d"]


def test_whoever_finds_no_place_takes_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.note, "rate_limit", "n:{name}=1/m")
    running, waits = promised(), promised()
    assert [len(begun(running)), len(begun(waits))] == [1, 0]
    assert Rate.objects.get().next_at < timezone.now() + MINUTE
    Job.objects.filter(pk=running.pk).delete()
    celery_app.amqp.bring(["key n:a"])
    assert begun(waits) == []
    waits.refresh_from_db()
    assert waits.slot_at == waits.due_at
    Job.objects.filter(pk=waits.pk).update(due_at=Now())
    assert len(begun(waits)) == 1


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("concurrency", 0, "concurrency cannot be kept: '0' is no number of jobs from 1 to 1000"),
        ("concurrency", True, "'True' is no number of jobs"),
        ("concurrency", "n:{name}=many", "'many' is no number of jobs"),
        ("concurrency", "n:{name}", "'n:{name}' is no number of jobs"),
        ("concurrency", "n:{name}=1001", "'1001' is no number of jobs"),
        ("concurrency", "=2", "its key is empty"),
        ("concurrency", "n:{nobody}=2", "its key names nobody, which the task does not take"),
        ("concurrency", "n:{name.upper}=2", "may stand the name of an argument alone"),
        ("concurrency", "n:{name[0]}=2", "may stand the name of an argument alone"),
        ("concurrency", "n:{name!r}=2", "may stand the name of an argument alone"),
        ("concurrency", "n:{name:>9}=2", "may stand the name of an argument alone"),
        ("concurrency", "n:{}=2", "may stand the name of an argument alone"),
        ("concurrency", "n:{name=2", "cannot be kept"),
        ("rate_limit", "n:{name}=often", "rate_limit cannot be kept: 'often' is no rate"),
        ("rate_limit", "n:{nobody}=1/m", "its key names nobody"),
    ],
)
def test_a_limit_that_is_none_is_said_where_it_stands(
    monkeypatch: pytest.MonkeyPatch, option: str, value: Any, sentence: str
) -> None:
    assert objections(tasks.note) == []
    monkeypatch.setattr(tasks.note, option, value)
    [found] = objections(tasks.note)
    assert sentence in found


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "name is a NoneType, and no text, number or UUID"),
        (1.5, "name is a float"),
        (["a"], "name is a list"),
        ("x" * 199, "has 201 characters; 200 are allowed"),
    ],
)
def test_a_call_that_makes_no_key_is_refused_and_the_transaction_goes_on(
    value: Any, sentence: str
) -> None:
    with transaction.atomic():
        with pytest.raises(CannotBeStored, match=sentence):
            tasks.note.delay(value)
        tasks.speak.delay(1)
    assert Job.objects.get().task == tasks.speak.name


@pytest.mark.parametrize(
    ("value", "key"),
    [("a", "a"), (7, "7"), (True, "True"), (UUID(int=7), f"{UUID(int=7)}"), ("{x}", "{x}")],
)
def test_a_key_is_made_of_text_numbers_and_ids(value: Any, key: str) -> None:
    assert promised(value).concurrency_key == f"key n:{key}"
    assert Job.objects.get(pk=tasks.note.delay(name=value).id).concurrency_key == f"key n:{key}"


def test_an_argument_that_is_left_out_is_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.note_once, "concurrency", "{name} {loud}=1")
    assert Job.objects.get(pk=tasks.note_once.delay("a").id).concurrency_key == "key a False"
