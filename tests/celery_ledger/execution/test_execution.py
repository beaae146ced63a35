import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery import chain, chord
from celery import current_app as celery_app
from celery.exceptions import SoftTimeLimitExceeded
from celery.result import AsyncResult
from django.contrib.auth.models import Group as Note
from django.db import OperationalError, connection, connections, transaction
from django.utils import timezone

from celery_ledger.celery.fixup import KeepingWorkerFixup
from celery_ledger.execution import settling
from celery_ledger.models import Job
from celery_ledger.testing import attempt, work_off
from tests.celery_ledger import tasks
from tests.celery_ledger.errors import error_of
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
LATER = timedelta(days=1)


def only_job() -> Job:
    return Job.objects.get()


def steal(job: Job) -> None:
    """Give the job another token, as a rescue and a claim by another worker do."""
    Job.objects.filter(pk=job.pk).update(token=uuid4())


def let_the_job_be_stolen(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of the body of `note`, just before its effect."""
    create = Note.objects.create

    def create_too_late(**named: Any) -> Note:
        steal(only_job())
        return create(**named)

    monkeypatch.setattr(Note.objects, "create", create_too_late)


def test_a_job_is_done_with_its_result_and_cannot_run_again() -> None:
    result = tasks.note.delay("a")
    job = only_job()
    attempt(job)
    attempt(job)
    assert list(Note.objects.values_list("name", flat=True)) == ["a"]
    assert (only_job().state, only_job().attempts, result.get(timeout=5)) == ("done", 1, "a")


def test_a_failed_body_takes_its_effects_back_and_the_error_is_kept() -> None:
    result = tasks.note_then_fail.delay("a")
    work_off()
    assert Note.objects.count() == 0
    error = error_of(only_job())
    lines = error.pop("traceback").splitlines()
    assert (only_job().state, error) == ("dead", {"type": "ValueError", "message": "no such luck"})
    assert lines[1].endswith("in note_then_fail")
    assert only_job().history[-1]["error"] == error
    assert result.traceback.splitlines() == lines
    with pytest.raises(ValueError, match="no such luck"):
        result.get(timeout=5)


@pytest.mark.parametrize("task", [tasks.note, tasks.note_outside])
def test_whoever_lost_the_lease_leaves_no_effect(
    task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fence. Without `job.token = settled.token` in SETTLE this test is red."""
    task.delay("a")
    let_the_job_be_stolen(monkeypatch)
    attempt(only_job())
    assert Note.objects.count() == 0
    assert only_job().state == "running"


def test_an_outside_task_settles_its_effects_and_result_together() -> None:
    tasks.note_outside.delay("a")
    work_off()
    assert (Note.objects.get().name, only_job().state, only_job().result) == (
        "a",
        "done",
        "settled a",
    )


def test_settling_twice_in_one_attempt_is_refused_and_the_job_stays_done() -> None:
    tasks.settle_twice.delay()
    work_off()
    assert only_job().state == "done"


def test_a_task_called_as_a_function_is_one() -> None:
    tasks.note_outside("a")
    assert (Note.objects.get().name, Job.objects.count()) == ("a", 0)


def test_autoretry_waits_in_the_row_and_succeeds_in_the_end() -> None:
    result = tasks.fail_for_a_while.delay(2)
    attempt(only_job())
    job = only_job()
    assert (job.state, job.retries, error_of(job)["message"]) == ("waiting", 1, "failure 0")
    assert (result.state, job.ring_at) == ("RETRY", job.due_at)
    work_off(ahead=LATER)
    assert (only_job().state, only_job().retries, only_job().result) == ("done", 2, "at last")


def test_the_last_retry_that_fails_is_the_verdict() -> None:
    tasks.fail_for_a_while.delay(9)
    work_off(ahead=LATER)
    assert (only_job().state, only_job().attempts, error_of(only_job())["type"]) == (
        "dead",
        3,
        "Passing",
    )


def test_retry_with_other_arguments_keeps_the_job_and_changes_them() -> None:
    result = tasks.come_back.delay(1)
    attempt(only_job())
    assert only_job().due_at > timezone.now() + timedelta(seconds=50)
    work_off(ahead=LATER)
    assert (only_job().pk.hex, only_job().result) == (result.id.replace("-", ""), 2)


def test_a_chain_runs_in_order_each_step_promised_by_the_one_before() -> None:
    result = chain(tasks.add.s(1, 1), tasks.add.s(5), tasks.add.s(10)).apply_async()
    work_off()
    assert result.get(timeout=5) == 17
    assert list(Job.objects.order_by("created_at").values_list("result", flat=True)) == [2, 7, 17]


def test_link_gets_the_result_and_link_error_the_dead_jobs_id() -> None:
    tasks.note.apply_async(("a",), link=tasks.add.si(1, 2), link_error=tasks.note.si("never"))
    dead = tasks.note_then_fail.apply_async(("b",), link_error=tasks.note.s())
    work_off()
    assert set(Note.objects.values_list("name", flat=True)) == {"a", dead.id}
    linked = Job.objects.get(task="tests.celery_ledger.tasks.add")
    assert (linked.state, linked.result) == ("done", 3)


def test_link_error_gets_the_request_and_the_exception_if_that_is_what_it_takes() -> None:
    dead = tasks.note_then_fail.apply_async(
        ("b",), link_error=[tasks.note_failure.s(), tasks.note_failure_outside.s("! ")]
    )
    work_off()
    sentence = f"{dead.id} tests.celery_ledger.tasks.note_then_fail ['b'] ValueError: no such luck"
    assert set(Note.objects.values_list("name", flat=True)) == {sentence, f"! {dead.id}"}
    assert set(Job.objects.filter(parent_id=dead.id).values_list("state", flat=True)) == {"done"}


def test_an_exception_of_ones_own_is_caught_by_its_class() -> None:
    result = tasks.fail_for_a_while.delay(9)
    work_off(ahead=LATER)
    with pytest.raises(tasks.Passing):
        result.get(timeout=5)


def test_a_chain_that_is_applied_twice_runs_twice() -> None:
    again = chain(tasks.add.s(1, 1), tasks.add.s(5), tasks.add.s(10))
    first, second = again.apply_async(), again.apply_async()
    work_off()
    assert (first.get(timeout=5), second.get(timeout=5)) == (17, 17)
    done = Job.objects.filter(state="done")
    assert sorted(int(job.result) for job in done) == [2, 2, 7, 7, 17, 17]


def test_a_revocation_that_would_stop_what_runs_says_that_it_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks.add.delay(1, 1).revoke(terminate=True)
    assert "goes on: the ledger knows no terminate" in caplog.text
    assert only_job().state == "cancelled"


def test_follow_ups_of_a_lost_attempt_are_rolled_back_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks.note.apply_async(("a",), link=tasks.add.si(1, 2))
    let_the_job_be_stolen(monkeypatch)
    attempt(only_job())
    assert Job.objects.count() == 1


def test_a_deadlock_runs_the_body_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = []

    def body(name: str) -> str:
        bodies.append(name)
        if len(bodies) == 1:
            with connection.cursor() as cursor:
                cursor.execute(DEADLOCK)
        return name

    monkeypatch.setattr(tasks.note, "run", body)
    tasks.note.delay("a")
    work_off()
    assert (bodies, only_job().state, only_job().attempts) == (["a", "a"], "done", 1)


DEADLOCK = "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$"
LOCK_TIMEOUT = "DO $$ BEGIN RAISE EXCEPTION 'lock timeout' USING ERRCODE = '55P03'; END $$"


def test_a_lock_timeout_is_waited_out_and_is_no_retry_of_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    troubles = iter([LOCK_TIMEOUT])

    def body(name: str) -> str:
        for trouble in troubles:
            with connection.cursor() as cursor:
                cursor.execute(trouble)
        return name

    monkeypatch.setattr(tasks.note, "run", body)
    tasks.note.delay("a")
    attempt(only_job())
    assert (only_job().state, only_job().retries, error_of(only_job())["type"]) == (
        "waiting",
        0,
        "OperationalError",
    )
    work_off(ahead=LATER)
    assert only_job().state == "done"


def test_a_result_too_large_is_a_verdict_that_says_so() -> None:
    tasks.speak.delay(65 * 1024)
    work_off()
    assert only_job().state == "dead"
    assert "65536 are allowed" in error_of(only_job())["message"]


def without_it(text: str) -> str:
    return text.replace("hana@example.com", "[hidden]")


def test_a_traceback_is_kept_as_the_project_wants_errors_kept(settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "SCRUB": without_it, "TRACEBACK_MAX_CHARS": 150}
    tasks.fail_with.delay("x" * 400 + " hana@example.com")
    work_off()
    kept = error_of(only_job())["traceback"]
    assert (len(kept) <= 150, "[hidden]" in kept, "hana@" in kept) == (True, True, False)


def terminate_this_session(database: str | None = None) -> None:
    pid = connection.connection.info.backend_pid
    other = connections.create_connection("default")
    other.settings_dict = {**other.settings_dict, "NAME": database or other.settings_dict["NAME"]}
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    other.close()


def test_a_bell_is_not_lost_to_a_connection_that_broke_while_nothing_happened() -> None:
    tasks.note.delay("a")
    job = only_job()
    terminate_this_session()
    attempt(job)
    assert (only_job().state, only_job().attempts) == ("done", 1)


def test_a_connection_that_breaks_before_the_commit_puts_the_job_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bodies = []

    def body(name: str) -> str:
        bodies.append(name)
        if len(bodies) == 1:
            terminate_this_session()
        Note.objects.create(name=name)
        return name

    monkeypatch.setattr(tasks.note, "run", body)
    tasks.note.delay("a")
    attempt(only_job())
    assert (only_job().state, Note.objects.count()) == ("waiting", 0)
    work_off(ahead=LATER)
    assert (only_job().state, Note.objects.count(), bodies) == ("done", 1, ["a", "a"])


def test_a_connection_that_breaks_after_the_commit_leaves_the_job_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error at COMMIT does not say whether it went through: the row is asked, and no failure
    kept.
    """
    tasks.note.delay("a")
    commit = connection.commit

    def commit_and_break() -> None:
        commit()
        monkeypatch.undo()
        terminate_this_session()
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "commit", commit_and_break)
    attempt(only_job())
    assert (only_job().state, only_job().error, Note.objects.count()) == ("done", None, 1)


def away(allowed: str) -> None:
    """Let no new connection in from now on, as while Postgres is restarted; or let them in
    again.
    """
    name = connection.ops.quote_name(str(connection.settings_dict["NAME"]))
    other = connections.create_connection("default")
    other.settings_dict = {**other.settings_dict, "NAME": "postgres"}
    with other.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}")
    other.close()


@pytest.mark.parametrize("task", [tasks.note, tasks.note_outside])
@pytest.mark.parametrize("error", [None, ValueError("the body's own")])
def test_a_verdict_that_postgres_cannot_take_is_written_as_soon_as_it_can(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: Any,
    task: Any,
    error: Exception | None,
) -> None:
    settings.LEDGER = {**settings.LEDGER, "OWED_PAUSE_S": 0.1}
    bodies = []

    def body(name: str) -> str:
        bodies.append(name)
        if len(bodies) == 1:
            away("false")
            terminate_this_session("postgres")
            if error:
                raise error
        return name

    monkeypatch.setattr(task, "run", body)
    task.delay("a")
    job = only_job()
    try:
        attempt(job)
    finally:
        away("true")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Postgres takes no verdict now" in caplog.text
    assert "Traceback" not in caplog.text
    until(lambda: only_job().state == "waiting", "the job is given back", within_s=10)
    job = only_job()
    assert (job.lease_until, job.attempts, job.retries) == (None, 1, 0)
    work_off(ahead=LATER)
    assert (only_job().state, bodies) == ("done", ["a", "a"])


def test_no_transaction_is_open_around_an_outside_task(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        tasks.note_outside, "run", lambda name: seen.append(connection.in_atomic_block)
    )
    tasks.note_outside.delay("a")
    work_off()
    assert seen == [False]


def test_a_bell_for_an_unknown_early_or_finished_job_does_nothing() -> None:
    tasks.note.apply_async(("a",), countdown=60)
    attempt(only_job())
    attempt(Job(id=uuid4(), task="tests.celery_ledger.tasks.note"))
    assert (only_job().state, only_job().attempts, Note.objects.count()) == ("waiting", 0, 0)


def test_two_claims_of_one_job_give_it_to_one() -> None:
    tasks.add.delay(1, 1)
    lease: dict[str, Any] = {"worker": None, "pid": 1, "lease": timedelta(seconds=40)}
    first = Job.objects.claim(
        [only_job().pk], task="tests.celery_ledger.tasks.add", token=uuid4(), **lease
    )
    second = Job.objects.claim(
        [only_job().pk], task="tests.celery_ledger.tasks.add", token=uuid4(), **lease
    )
    assert (len(first), second) == (1, [])


def test_async_result_reads_the_ledger() -> None:
    waiting = tasks.add.delay(1, 1)
    assert (waiting.state, AsyncResult(str(uuid4())).state) == ("PENDING", "PENDING")
    work_off()
    assert (waiting.state, waiting.result) == ("SUCCESS", 2)


def test_settle_outside_any_job_is_a_plain_transaction() -> None:
    with pytest.raises(ZeroDivisionError), settling.settle():
        Note.objects.create(name="a")
        assert transaction.get_connection().in_atomic_block
        raise ZeroDivisionError
    assert Note.objects.count() == 0


# --- found by review ------------------------------------------------------------------------------


def test_a_link_error_that_cannot_be_called_does_not_keep_the_job_alive() -> None:
    tasks.note_then_fail.apply_async(("a",), link_error=[tasks.nothing.s(), tasks.note.s()])
    attempt(only_job())
    assert Job.objects.get(task="tests.celery_ledger.tasks.note_then_fail").state == "dead"
    assert Job.objects.filter(task="tests.celery_ledger.tasks.note", state="waiting").count() == 1


@pytest.mark.parametrize("kind", ["broken", "odd"])
def test_an_error_whose_text_no_row_can_hold_is_a_verdict_all_the_same(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")  # pytest-xdist cannot hand on a log with such a text in it
    tasks.fail_unspeakably.delay(kind)
    attempt(only_job())
    assert (only_job().state, error_of(only_job())["type"]) == (
        "dead",
        "Unspeakable" if kind == "broken" else "ValueError",
    )


def test_a_retry_with_arguments_that_no_row_can_hold_is_a_verdict() -> None:
    tasks.come_back_with_nonsense.delay()
    attempt(only_job())
    assert (only_job().state, error_of(only_job())["type"]) == ("dead", "CannotBeStored")


@pytest.mark.parametrize("argument", ["x" * 20_000, {"__type__": "nonsense", "__value__": 1}])
def test_a_retry_cannot_bring_in_arguments_that_a_first_call_could_not(
    argument: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.note, "run", lambda name: tasks.note.retry(args=(argument,)))
    tasks.note.delay("a")
    attempt(only_job())
    assert (only_job().state, error_of(only_job())["type"], only_job().args) == (
        "dead",
        "CannotBeStored",
        [["a"], {}],
    )


def test_many_retries_leave_the_patience_with_postgres_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks.note.delay("a")
    Job.objects.update(attempts=30, retries=30)

    def body(name: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(LOCK_TIMEOUT)

    monkeypatch.setattr(tasks.note, "run", body)
    attempt(only_job())
    assert only_job().state == "waiting"


def test_a_session_that_postgres_ended_for_idling_is_no_fault_of_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that was frozen or paused finds its session so."""
    naps = iter([0.3])

    def body(name: str) -> str:
        for nap in naps:
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '100ms'")
            time.sleep(nap)
        return Note.objects.create(name=name).name

    monkeypatch.setattr(tasks.note, "run", body)
    tasks.note.delay("a")
    attempt(only_job())
    assert (only_job().state, Note.objects.count()) == ("waiting", 0)
    work_off(ahead=LATER)
    assert (only_job().state, Note.objects.count()) == ("done", 1)


def test_a_forged_bell_cannot_run_another_task_on_a_job() -> None:
    tasks.add.delay(1, 1)
    forged = only_job()
    forged.task = "tests.celery_ledger.tasks.speak"
    attempt(forged)
    assert (only_job().state, only_job().attempts) == ("waiting", 0)


def test_a_result_that_could_not_be_read_back_is_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.note, "run", lambda name: {"__type__": "nonsense", "__value__": name})
    result = tasks.note.delay("a")
    work_off()
    assert (result.state, error_of(only_job())["type"]) == ("FAILURE", "EncodeError")


@pytest.mark.parametrize("limits", [[2, 1], [86_400, 86_399], [None, None]])
def test_a_forged_bell_cannot_give_a_job_other_time_limits(limits: list[float | None]) -> None:
    """A limit that is too short would make a good job dead after three times."""
    tasks.add.apply_async((1, 1), time_limit=10, soft_time_limit=5.5)
    forged = only_job()
    forged.envelope["headers"]["timelimit"] = limits
    attempt(forged)
    assert (only_job().state, only_job().attempts) == ("waiting", 0)
    attempt(only_job())
    assert only_job().state == "done"


@pytest.mark.parametrize("kept", ["'null'", "NULL"], ids=["null", "absent"])
def test_a_row_without_time_limits_is_run_by_a_bell_without_them(kept: str) -> None:
    """Such a bell has two nulls."""
    tasks.add.delay(1, 1)
    without = f"jsonb_set_lax(envelope::jsonb, '{{headers,timelimit}}', {kept}, true, 'delete_key')"
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE celery_ledger_job SET envelope = {without}")
    rung = only_job()
    rung.envelope["headers"]["timelimit"] = [None, None]
    attempt(rung)
    assert only_job().state == "done"


def test_a_task_may_call_itself_as_a_function() -> None:
    tasks.factorial.delay(5)
    work_off()
    assert (only_job().state, only_job().result, only_job().attempts) == ("done", 120, 1)


def test_a_job_that_nobody_came_for_in_time_is_cancelled() -> None:
    tasks.note.apply_async(("a",), expires=timezone.now() - timedelta(seconds=1))
    tasks.note.apply_async(("b",), expires=3600)
    work_off()
    assert list(Note.objects.values_list("name", flat=True)) == ["b"]
    assert error_of(Job.objects.get(state="cancelled"))["type"] == "Expired"


def test_a_connection_left_inside_a_transaction_is_thrown_away_before_the_next_task() -> None:
    """A time limit may be raised inside Django's `Atomic`; the next tasks of that process must
    work.
    """
    transaction.atomic().__enter__()
    assert connection.in_atomic_block
    KeepingWorkerFixup(celery_app).close_database()
    assert not connection.in_atomic_block
    tasks.note.delay("a")
    work_off()
    assert only_job().state == "done"


def test_a_body_that_breaks_its_connection_every_time_is_dead_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def body(name: str) -> None:
        terminate_this_session()
        Note.objects.create(name=name)

    monkeypatch.setattr(tasks.note, "run", body)
    tasks.note.delay("a")
    work_off(ahead=LATER)
    assert (only_job().state, only_job().attempts, Note.objects.count()) == ("dead", 11, 0)


def test_a_replacement_that_collided_is_forgotten_when_the_body_runs_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bodies = []

    def body(name: str) -> str:
        bodies.append(name)
        if len(bodies) == 1:
            settling.replace_with(tasks.add.si(1, 1).set(task_id=tasks.note.request.id))
            with connection.cursor() as cursor:
                cursor.execute(DEADLOCK)
        return name

    monkeypatch.setattr(tasks.note, "run", body)
    tasks.note.delay("a")
    work_off()
    assert (len(bodies), only_job().task, only_job().state, only_job().result) == (
        2,
        tasks.note.name,
        "done",
        "a",
    )


def test_an_expired_part_tells_its_chord() -> None:
    late = tasks.add.s(1, 1).set(expires=timezone.now() - timedelta(seconds=1))
    result = chord([late, tasks.add.s(2, 2)], tasks.total.s()).apply_async()
    work_off()
    assert error_of(Job.objects.get(pk=result.id))["type"] == "ChordError"


def test_a_soft_time_limit_may_strike_as_often_as_a_hard_one_before_the_job_is_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stall of Postgres can use up a body's time: that alone must not make the job dead."""
    bodies = []

    def body(name: str) -> None:
        bodies.append(name)
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(tasks.note, "run", body)
    tasks.note.delay("a")
    attempt(only_job())
    assert (only_job().state, only_job().retries, only_job().history[0]["end"]) == (
        "waiting",
        0,
        "trouble",
    )
    work_off(ahead=LATER)
    assert (only_job().state, len(bodies), error_of(only_job())["type"]) == (
        "dead",
        3,
        "SoftTimeLimitExceeded",
    )
