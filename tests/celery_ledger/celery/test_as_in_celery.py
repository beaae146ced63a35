"""What a Celery user expects of results, errors, retries and hooks, one thing a test."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from celery import Task, chain, chord, group, signals
from celery import current_app as celery_app
from celery.app.trace import trace_task
from celery.canvas import Signature
from celery.contrib.abortable import AbortableAsyncResult
from celery.exceptions import MaxRetriesExceededError, Reject, Retry
from celery.result import AsyncResult, ResultSet
from django.contrib.auth.models import Group as Note
from django.db import IntegrityError, close_old_connections, connection, transaction
from django.utils import timezone
from kombu.exceptions import EncodeError

from celery_ledger.execution.settling import settle
from celery_ledger.models import Job
from celery_ledger.testing import attempt, work_off
from tests.celery_ledger import tasks
from tests.postgres.hands import Hand

pytestmark = pytest.mark.django_db(transaction=True)
Define = Callable[..., Task]


class NotThere(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


class NeedsAWord(Exception):
    def __init__(self, *, why: str) -> None:
        super().__init__(why)


@pytest.fixture
def define() -> Iterator[Define]:
    """A task with this body."""
    made: list[Task] = []

    def make(body: Callable[..., Any], **options: Any) -> Task:
        limits = {"soft_time_limit": 5, "time_limit": 10}
        body.__name__ = f"body_{len(made)}"  # Celery writes code around it
        name = f"tests.defined_{len(made)}"
        made.append(
            celery_app.task(name=name, lazy=False, shared=False, **{**limits, **options})(body)
        )
        return made[-1]

    yield make
    for task in made:
        celery_app.tasks.unregister(task)


def outcome_of(task: Task, *args: Any, **options: Any) -> AsyncResult:
    promised = task.apply_async(args, **options)
    work_off(ahead=timedelta(hours=1))
    return AsyncResult(promised.id)


# --- results --------------------------------------------------------------------------------------


def test_a_result_that_is_to_be_ignored_is_not_kept_and_may_be_anything(define: Define) -> None:
    def body() -> object:
        return object()

    task = define(body)
    assert outcome_of(task, ignore_result=True).state == "SUCCESS"
    assert outcome_of(define(body, ignore_result=True)).result is None
    assert outcome_of(task).state == "FAILURE"


def test_a_result_that_is_a_result_comes_back_as_celery_keeps_it(define: Define) -> None:
    def body() -> AsyncResult:
        return tasks.add.delay(1, 2)

    inner = outcome_of(define(body)).result
    assert AsyncResult(inner[0][0]).get(timeout=5) == 3


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        NotThere(404, "not there"),
        KeyError("a"),
        ValueError({"field": "bad"}),
        ValueError("a", 1, None),
        FileNotFoundError(2, "No such file", "x.txt"),
        ValueError(),
    ],
    ids=repr,
)
def test_an_error_comes_back_as_it_was_raised(define: Define, error: Exception) -> None:
    def body() -> None:
        raise error

    came_back = outcome_of(define(body))
    assert (type(came_back.result), came_back.result.args) == (type(error), error.args)
    with pytest.raises(type(error)):
        came_back.get(timeout=5)


def test_an_error_that_cannot_be_made_again_is_named(define: Define) -> None:
    def body() -> None:
        raise NeedsAWord(why="because")

    assert "NeedsAWord" in repr(outcome_of(define(body)).result)


def test_an_error_of_more_than_a_row_holds_keeps_its_text(define: Define) -> None:
    ring: list[Any] = []
    ring.append(ring)

    def body() -> None:
        raise ValueError("x" * 1_000_000, ring)

    outcome_of(define(body))
    error = Job.objects.get().error
    assert error
    assert "args" not in error
    assert len(error["message"]) < 10_000


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), SystemExit(1)])
def test_what_is_no_exception_is_the_bodys_own_fault_at_once(
    define: Define, error: BaseException
) -> None:
    def body() -> None:
        Note.objects.create(name="half")
        raise error

    failed = outcome_of(define(body), link_error=tasks.note.si("told"))
    job = Job.objects.get(pk=failed.id)
    assert (job.state, job.attempts, job.losses) == ("dead", 1, 0)
    assert job.error
    assert job.error["type"] == type(error).__name__
    assert [note.name for note in Note.objects.all()] == ["told"]


# --- retry and reject -----------------------------------------------------------------------------


def test_a_retry_with_options_has_them(define: Define) -> None:
    seen: list[tuple[Any, ...]] = []

    def body(self: Task) -> str:
        request = self.request
        seen.append((request.timelimit, request.delivery_info["routing_key"]))
        if not request.retries:
            raise self.retry(
                countdown=1,
                time_limit=9,
                soft_time_limit=7,
                queue=other,
                link=tasks.note.s(),
                expires=3600,
            )
        return "linked"

    other = sorted(celery_app.amqp.queues)[-1]
    outcome_of(define(body, bind=True))
    retried = Job.objects.get(task__startswith="tests.defined")
    assert seen[1] == ([9, 7], other)
    assert (retried.state, retried.attempts, retried.queue) == ("done", 2, other)
    assert retried.envelope["headers"]["expires"]
    assert Note.objects.get().name == "linked"


def test_a_retry_without_options_keeps_those_of_the_call(define: Define) -> None:
    def body(self: Task, name: str) -> str:
        if not self.request.retries:
            raise self.retry(countdown=1)
        return name

    other = sorted(celery_app.amqp.queues)[-1]
    task = define(body, bind=True)
    call = {"queue": other, "time_limit": 9, "soft_time_limit": 7, "link": tasks.note.s()}
    outcome_of(task, "a", expires=7200, shadow="another name", **call)
    job = Job.objects.get(task=task.name)
    headers = job.envelope["headers"]
    assert (job.state, job.queue, headers["timelimit"]) == ("done", other, [9, 7])
    assert (headers["shadow"], bool(headers["expires"])) == ("another name", True)
    assert Note.objects.get().name == "a"


def test_a_retry_that_would_come_too_late_is_expired(define: Define) -> None:
    def body(self: Task) -> None:
        raise self.retry(countdown=0, expires=-1)

    assert outcome_of(define(body, bind=True, max_retries=3)).state == "REVOKED"


def test_a_job_that_is_rejected_to_be_delivered_again_is_tried_again(define: Define) -> None:
    attempts: list[int] = []

    def body() -> str:
        attempts.append(1)
        if len(attempts) < 3:
            raise Reject("not now", requeue=True)
        return "now"

    assert outcome_of(define(body)).result == "now"


def test_a_job_knows_whether_it_is_delivered_again_after_a_reject_and_not_after_a_retry(
    define: Define,
) -> None:
    seen: list[bool] = []

    def body(self: Task) -> None:
        seen.append(self.request.delivery_info["redelivered"])
        if len(seen) == 1:
            raise self.retry(countdown=0)
        if len(seen) == 2:
            raise Reject("not now", requeue=True)

    assert outcome_of(define(body, bind=True, max_retries=1)).state == "SUCCESS"
    assert seen == [False, False, True]


def test_a_job_that_rejects_for_ever_is_dead_in_the_end(define: Define) -> None:
    def body() -> None:
        raise Reject("never", requeue=True)

    rejected = outcome_of(define(body))
    assert rejected.state == "FAILURE"
    assert Job.objects.get().attempts > 3


# --- on_commit ------------------------------------------------------------------------------------


def test_a_hook_that_fails_after_the_commit_takes_nothing_with_it(
    define: Define, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError("in a hook")

    def body() -> str:
        transaction.on_commit(fail)
        transaction.on_commit(lambda: ran.append("later"))
        return "done"

    with caplog.at_level(logging.ERROR):
        result = outcome_of(define(body))
    assert (result.state, result.result, ran) == ("SUCCESS", "done", ["later"])
    assert "in a hook" in caplog.text


# --- sizes ----------------------------------------------------------------------------------------


def test_a_chord_of_many_parts_gets_their_results_however_many_bytes_they_are() -> None:
    ids = [str(uuid4()) for _ in range(450)]
    body = chord([tasks.note.si(id_) for id_ in ids], tasks.listed.s()).delay()
    work_off()
    assert AsyncResult(body.id).result == ids


TOO_LARGE = "x" * 20_000


@pytest.mark.parametrize(
    "canvas",
    [
        chain(tasks.add.si(1, 1), tasks.note.si(TOO_LARGE)),
        chain(tasks.add.si(1, 1), group(tasks.note.si("a"), tasks.note.si(TOO_LARGE))),
        chain(tasks.add.si(1, 1), chord([tasks.note.si(TOO_LARGE)], tasks.listed.s())),
        chord([tasks.note.si("a")], tasks.note.si(TOO_LARGE)),
        tasks.add.si(1, 1).set(link=[tasks.note.si(TOO_LARGE)]),
        chain(tasks.add.si(1, 1), tasks.note.si("a").set(link=[tasks.note.si(TOO_LARGE)])),
        tasks.add.si(1, 1).on_error(tasks.note.si(TOO_LARGE)),
        chain(tasks.add.si(1, 1), tasks.note.si("a").on_error(tasks.note.si(TOO_LARGE))),
    ],
    ids=[
        "a step",
        "in a group",
        "in a header",
        "a body",
        "a link",
        "the link of a step",
        "an errback",
        "the errback of a step",
    ],
)
def test_what_is_too_large_fails_at_the_call_and_not_after_the_work(canvas: Signature) -> None:
    with pytest.raises(ValueError, match="bytes; 16384 are allowed"), transaction.atomic():
        canvas.delay()
    assert not Job.objects.exists()


# --- the connection -------------------------------------------------------------------------------


@pytest.mark.parametrize("close", [connection.close, close_old_connections])
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_body_that_closes_its_transactions_connection_is_told_so_at_once(
    define: Define, goes_on: bool, close: Callable[[], None]
) -> None:
    def body() -> None:
        Note.objects.create(name="half")
        close()
        if goes_on:
            Note.objects.create(name="more")

    failed = outcome_of(define(body))
    assert "closed the connection of its own transaction" in str(failed.result)
    assert (Job.objects.get().attempts, Note.objects.count()) == (1, 0)


def test_a_connection_that_is_closed_inside_settle_is_told_so_at_once(define: Define) -> None:
    def body() -> None:
        with settle():
            Note.objects.create(name="half")
            connection.close()
            Note.objects.create(name="more")

    failed = outcome_of(define(body, atomic=False))
    assert "not in settle()" in str(failed.result)
    assert (Job.objects.get().attempts, Note.objects.count()) == (1, 0)


@pytest.mark.parametrize("close", [connection.close, close_old_connections])
def test_a_connection_closed_outside_any_transaction_is_opened_again(
    define: Define, close: Callable[[], None]
) -> None:
    def body() -> str:
        close()
        return str(Note.objects.create(name="after"))

    assert outcome_of(define(body, atomic=False)).result == "after"


def test_an_sql_error_that_the_body_swallows_is_its_own_fault_at_once(define: Define) -> None:
    def body() -> None:
        for _ in range(2):
            with contextlib.suppress(IntegrityError):
                Note.objects.create(name="the same")
        Note.objects.count()

    outcome_of(define(body))
    job = Job.objects.get()
    assert (job.state, job.attempts, Note.objects.count()) == ("dead", 1, 0)


# --- ids and values -------------------------------------------------------------------------------


def test_a_task_id_may_be_any_text() -> None:
    promised = tasks.add.apply_async((1, 2), task_id="order-17", link=tasks.note.si("linked"))
    work_off()
    assert (promised.id, promised.get(timeout=5), AsyncResult("order-17").result) == (
        "order-17",
        3,
        3,
    )
    assert [child.get(timeout=5) for child in AsyncResult("order-17").children] == ["linked"]
    tasks.add.apply_async((1, 2), task_id="order-18").revoke()
    assert AsyncResult("order-18").state == "REVOKED"


def test_members_of_a_group_may_have_names_for_ids() -> None:
    named = [tasks.add.s(number, 1).set(task_id=f"part-{number}") for number in range(3)]
    body = chord(named, tasks.listed.s().set(task_id="body")).apply_async()
    work_off()
    assert (body.id, body.get(timeout=5)) == ("body", [1, 2, 3])
    results = ResultSet([AsyncResult(f"part-{number}") for number in range(3)])
    assert results.join_native(timeout=5) == [1, 2, 3]


def test_a_name_that_is_taken_is_refused_and_leaves_the_transaction_usable() -> None:
    tasks.note.apply_async(("a",), task_id="order-17")
    with transaction.atomic():
        with pytest.raises(ValueError, match="a job with the task_id 'order-17' already"):
            tasks.note.apply_async(("b",), task_id="order-17")
        Note.objects.create(name="goes on")
    assert (Job.objects.count(), Note.objects.count()) == (1, 1)


def test_a_result_of_nothing_is_pending() -> None:
    assert (AsyncResult("nonsense").state, AsyncResult("nonsense").result) == ("PENDING", None)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "a\x00b", "half a pair \ud83c", {"\x00": 1}], ids=repr
)
def test_a_value_that_postgres_cannot_keep_is_refused_and_leaves_the_transaction_usable(
    value: Any,
) -> None:
    with transaction.atomic():
        with pytest.raises(ValueError, match=r"arguments of tests\.celery_ledger\.tasks\.listed"):
            tasks.listed.delay([value])
        Note.objects.create(name="goes on")
    assert (Job.objects.count(), Note.objects.count()) == (0, 1)


@pytest.mark.parametrize("value", [r"\u0000", "鮭 🍣", "\\", -1, 2**70, 0.1, None, [[]], {"b": {}}])
def test_any_other_value_comes_back_as_it_went(value: Any) -> None:
    assert outcome_of(tasks.listed, [value]).result == [value]


@pytest.mark.parametrize("value", [1e22, -0.0, 1.0, 5e-324, {"zeta": 1, "a": 2, "aa": 3}], ids=repr)
def test_a_value_is_the_same_to_its_last_digit_and_key(value: Any) -> None:
    outcome = outcome_of(tasks.listed, [value])
    job = Job.objects.get()
    for kept in (outcome.result, job.args[0][0]):
        assert repr(kept) == repr([value])


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), {1, 2}], ids=repr)
def test_a_result_that_is_no_json_is_the_bodys_own_fault(define: Define, value: Any) -> None:
    outcome = outcome_of(define(lambda: value))
    assert isinstance(outcome.result, EncodeError)


def test_what_a_step_returns_reaches_the_next_one_whatever_characters_are_in_it(
    define: Define,
) -> None:
    strange = define(lambda: "a\x00b\ud83c")
    promised = chain(strange.s(), tasks.listed.s()).apply_async()
    work_off()
    assert promised.result == "a\x00b\ud83c"


# --- hooks and signals ----------------------------------------------------------------------------


class Hooked(Task):  # type: ignore[misc]
    """A task class that notes what its hooks are called with."""

    calls: ClassVar[list[Any]] = []

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self.calls.append(("before_start", tuple(args), kwargs))

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self.calls.append(("on_success", retval, tuple(args), kwargs))

    def after_return(self, status: str, retval: Any, id_: str, args: Any, *_: Any) -> None:
        self.calls.append(("after_return", status, tuple(args)))


def test_hooks_and_signals_are_called_with_the_arguments(define: Define) -> None:
    heard: list[Any] = []

    def listen(signal: Any = None, args: Any = None, kwargs: Any = None, **_: Any) -> None:
        heard.append((signal.name, tuple(args), kwargs))

    Hooked.calls.clear()
    task = define(lambda x, y: x + y, base=Hooked)
    for signal in (signals.task_prerun, signals.task_postrun):
        signal.connect(listen)
    try:
        outcome_of(task, 1, kwargs={"y": 2})
    finally:
        for signal in (signals.task_prerun, signals.task_postrun):
            signal.disconnect(listen)
    assert heard == [("task_prerun", (1,), {"y": 2}), ("task_postrun", (1,), {"y": 2})]
    assert Hooked.calls == [
        ("before_start", (1,), {"y": 2}),
        ("on_success", 3, (1,), {"y": 2}),
        ("after_return", "SUCCESS", (1,)),
    ]


class FailsBefore(Task):  # type: ignore[misc]
    def before_start(self, *_: Any) -> None:
        raise LookupError("not now")


def test_a_hook_that_fails_before_the_body_is_the_end_of_the_job(define: Define) -> None:
    task = define(lambda: Note.objects.create(name="never"), base=FailsBefore)
    outcome = outcome_of(task, link_error=tasks.note.si("told"))
    assert (outcome.state, repr(outcome.result)) == ("FAILURE", "LookupError('not now')")
    assert list(Note.objects.values_list("name", flat=True)) == ["told"]


def test_a_bell_for_nobody_calls_no_hook_and_no_signal(define: Define) -> None:
    Hooked.calls.clear()
    task = define(lambda: None, base=Hooked)
    outcome_of(task)
    before = list(Hooked.calls)
    attempt(Job.objects.get())
    assert Hooked.calls == before


def test_who_listens_to_the_publishing_hears_of_it_and_may_add_a_header(define: Define) -> None:
    heard: list[Any] = []

    def add(sender: str, headers: dict[str, Any], **_: Any) -> None:
        headers["trace"] = "4bf9"

    def note(sender: str, headers: dict[str, Any], routing_key: str, **_: Any) -> None:
        heard.append((sender, headers["id"], routing_key))

    task = define(lambda self: self.request.headers, bind=True)
    signals.before_task_publish.connect(add)
    signals.after_task_publish.connect(note)
    try:
        outcome = outcome_of(task, headers={"tenant": 17})
    finally:
        signals.before_task_publish.disconnect(add)
        signals.after_task_publish.disconnect(note)
    assert outcome.result == {"tenant": 17, "trace": "4bf9"}
    assert heard == [(task.name, outcome.id, "kaiten")]


def test_a_request_has_nothing_of_what_a_forged_bell_carries(define: Define) -> None:
    task = define(lambda self: [self.request.headers, self.request.group], bind=True)
    job = Job.objects.get(pk=task.delay().id)
    forged = {"tenant": 17, "alone": True, "group": str(uuid4()), "chord": {"task": "x"}}
    limits = job.envelope["headers"]["timelimit"]
    bell = {"task": task.name, "timelimit": limits, "delivery_info": {}, **forged}
    trace_task(task, str(job.pk), (), {}, request=bell, app=celery_app)
    assert AsyncResult(str(job.pk)).result == [None, None]


def test_headers_of_more_bytes_than_a_row_should_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="The headers tenant are more than 4096 bytes"):
        tasks.note.apply_async(("a",), headers={"tenant": "x" * 5000})


def test_a_job_that_came_too_late_is_told_as_a_revoked_one() -> None:
    heard: list[Any] = []

    def listen(request: Any, expired: bool, **_: Any) -> None:
        heard.append((request.id, expired))

    signals.task_revoked.connect(listen)
    try:
        outcome = outcome_of(tasks.note, "a", expires=-5)
    finally:
        signals.task_revoked.disconnect(listen)
    assert heard == [(outcome.id, True)]
    assert (outcome.state, str(outcome.result)) == ("REVOKED", "expired")


# --- what a result says ---------------------------------------------------------------------------


def test_a_result_says_when_its_job_ended() -> None:
    outcome = outcome_of(tasks.add, 1, 1)
    assert outcome.date_done == Job.objects.get().finished_at


def test_the_result_of_a_task_that_is_known_by_its_name_alone_is_kept() -> None:
    promised = celery_app.send_task("tests.celery_ledger.tasks.add", (1, 2))
    work_off()
    assert AsyncResult(promised.id).result == 3


def test_a_job_that_waits_for_its_retry_says_what_for(define: Define) -> None:
    def body(self: Task) -> None:
        raise self.retry(exc=NotThere(404, "gone"), countdown=60)

    promised = define(body, bind=True).apply_async()
    attempt(Job.objects.get())
    waiting = AsyncResult(promised.id)
    assert (waiting.state, repr(waiting.result)) == ("RETRY", "NotThere(404, 'gone')")
    assert "NotThere" in str(waiting.traceback)


def test_what_a_job_led_to_comes_in_the_groups_that_it_was_promised_in() -> None:
    two = group(tasks.add.s(1), tasks.add.s(2))
    outcome = outcome_of(tasks.add, 1, 1, link=[two, tasks.add.s(5)], link_error=tasks.note.s())
    kinds = sorted(type(child).__name__ for child in outcome.children)
    assert kinds == ["GroupResult", "GroupResult"]


def test_errbacks_are_no_children(define: Define) -> None:
    def fail() -> None:
        raise ValueError

    assert outcome_of(define(fail), link_error=tasks.note.s()).children == []


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        NotThere(17, Decimal("1.10")),  # type: ignore[arg-type]
    ],
)
def test_an_error_has_what_it_was_made_of_whatever_that_is(
    define: Define, error: Exception
) -> None:
    def fail() -> None:
        raise error

    assert outcome_of(define(fail)).result.args == error.args


def test_the_rest_of_a_failed_chord_says_what_its_part_died_of(define: Define) -> None:
    def fail() -> None:
        raise NotThere(404, "gone")

    promised = chord([tasks.add.si(1, 1), define(fail).si()], tasks.total.s()).apply_async()
    following = chain(group(tasks.add.si(1, 1), define(fail).si()), group(tasks.add.s(1)))
    members = following.apply_async()
    work_off()
    for _ in range(3):
        with pytest.raises(NotThere):
            AsyncResult(promised.id, parent=promised.parent).get(timeout=5)
    assert isinstance(members.results[0].result, NotThere)


def test_whoever_waits_for_a_chord_meanwhile_is_told_the_same(define: Define, one: Hand) -> None:
    def fail() -> None:
        raise NotThere(404, "gone")

    promised = chord([tasks.add.si(1, 1), define(fail).si()], tasks.total.s()).apply_async()
    waits = threading.Event()
    waiting = one.begin(
        lambda: promised.get(timeout=10, interval=0.2, on_interval=lambda *_: waits.set())
    )
    assert waits.wait(10)
    work_off()
    with pytest.raises(NotThere):
        waiting.result(timeout=10)


def test_an_errback_is_given_the_traceback_and_the_task(define: Define) -> None:
    heard: list[Any] = []

    def fail() -> None:
        raise NotThere(404, "gone")

    def note(request: Any, exc: Exception, trace: str | None) -> None:
        heard.append((request.task, type(exc).__name__, trace and trace.splitlines()[-1]))

    failing, errback = define(fail), define(note)
    outcome_of(failing, link_error=errback.s())
    chord([failing.si()], tasks.total.s().on_error(errback.s())).apply_async()
    work_off()
    assert heard == [
        (failing.name, "NotThere", f"{__name__}.NotThere: (404, 'gone')"),
        (tasks.total.name, "ChordError", None),
    ]


# --- calls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"eta": "tomorrow"},
        {"time_limit": "10"},
        {"soft_time_limit": -1},
        {"time_limit": float("nan")},
        {"time_limit": True},
        {"priority": "high"},
        {"priority": 256},
        {"priority": 1.5},
    ],
    ids=repr,
)
def test_an_option_of_nonsense_is_refused_at_the_call(options: dict[str, Any]) -> None:
    [option] = options
    with transaction.atomic():
        with pytest.raises(ValueError, match=f"The {option} of .*note is no "):
            tasks.note.apply_async(("a",), **options)
        Note.objects.create(name="goes on")
    assert (Job.objects.count(), Note.objects.count()) == (0, 1)


def test_a_request_knows_when_it_was_due(define: Define) -> None:
    task = define(lambda self: self.request.eta, bind=True)
    eta = timezone.now() + timedelta(minutes=5)
    assert outcome_of(task, eta=eta).result == eta.isoformat()


def test_a_task_id_that_is_taken_is_refused() -> None:
    id_ = str(uuid4())
    tasks.note.apply_async(("a",), task_id=id_)
    with pytest.raises(ValueError, match="a job with the task_id"):
        tasks.note.apply_async(("b",), task_id=id_)


def test_a_body_that_raises_retry_itself_does_so_max_retries_times(define: Define) -> None:
    attempts: list[int] = []

    def body(self: Task) -> None:
        attempts.append(self.request.retries)
        raise Retry("later", when=0)

    outcome = outcome_of(define(body, bind=True, max_retries=2))
    assert attempts == [0, 1, 2]
    assert isinstance(outcome.result, MaxRetriesExceededError)


def test_the_jobs_of_a_stamp_are_revoked() -> None:
    marked, other = (tasks.note.si(name) for name in ("marked", "other"))
    marked.stamp(order="17", lot=["a", "b"])
    other.stamp(order="18")
    waiting = [sig.apply_async(countdown=60) for sig in (marked, other, tasks.note.si("plain"))]
    celery_app.control.revoke_by_stamped_headers({"lot": ["c", "b"]})
    assert [one.state for one in waiting] == ["REVOKED", "PENDING", "PENDING"]
    celery_app.control.revoke_by_stamped_headers({"order": "18"})
    assert [one.state for one in waiting] == ["REVOKED", "REVOKED", "PENDING"]


def test_a_state_of_ones_own_is_refused_aloud() -> None:
    outcome = outcome_of(tasks.add, 1, 1)
    with pytest.raises(NotImplementedError, match="ABORTED is none"):
        AbortableAsyncResult(outcome.id).abort()
