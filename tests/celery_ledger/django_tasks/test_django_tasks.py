"""Django's own tasks on the ledger: rows, effects once, results, signals."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync
from celery import current_app as celery_app
from django.contrib.auth.models import Group as Note
from django.core.checks import run_checks
from django.db import transaction
from django.tasks import TaskResultStatus, default_task_backend, task
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
from django.tasks.signals import task_enqueued, task_finished, task_started
from django.utils import timezone

from celery_ledger.django_tasks import function
from celery_ledger.models import Job
from celery_ledger.testing import attempt, work_off
from tests.celery_ledger import tasks
from tests.celery_ledger.django_tasks import django_functions as functions

pytestmark = pytest.mark.django_db(transaction=True)


def names() -> set[str]:
    return set(Note.objects.values_list("name", flat=True))


def test_a_task_is_a_row_of_the_callers_transaction() -> None:
    with transaction.atomic():
        functions.note.enqueue("lost")
        transaction.set_rollback(True)
    assert Job.objects.count() == 0
    result = functions.note.enqueue("kept")
    job = Job.objects.get()
    assert (job.task, job.queue, job.args) == (
        "tests.celery_ledger.django_tasks.django_functions.note",
        "kaiten",
        [["kept"], {}],
    )
    assert (result.id, result.status, result.attempts) == (str(job.pk), TaskResultStatus.READY, 0)
    with pytest.raises(ValueError, match="has not finished yet"):
        _ = result.return_value
    work_off()
    result.refresh()
    assert (result.status, result.return_value, names()) == ("SUCCESSFUL", "kept", {"kept"})
    assert (result.attempts, result.errors) == (1, [])
    assert result.started_at <= result.finished_at  # type: ignore[operator]


def test_what_a_failed_one_wrote_is_gone_and_its_error_is_told() -> None:
    result = functions.note_and_fail.enqueue(name="it")
    work_off()
    result.refresh()
    assert (result.status, names()) == (TaskResultStatus.FAILED, set())
    [error] = result.errors
    assert error.exception_class is LookupError
    assert error.traceback.rstrip().endswith("LookupError: no it")
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


def test_a_delivered_twice_bell_runs_it_once() -> None:
    functions.note.enqueue("once")
    job = Job.objects.get()
    attempt(job)
    attempt(job)
    assert (Job.objects.get().attempts, Note.objects.count()) == (1, 1)


def test_a_task_with_a_context_knows_its_id_and_attempt() -> None:
    result = functions.note_with_context.enqueue("a")
    work_off()
    assert functions.note_with_context.get_result(result.id).return_value == [result.id, 1, ["a"]]


def test_a_coroutine_runs_and_is_enqueued_by_one() -> None:
    async def view() -> Any:
        result = await functions.note_async.aenqueue("a")
        with pytest.raises(TaskResultDoesNotExist):
            await default_task_backend.aget_result(str(uuid4()))
        return result

    result = async_to_sync(view)()
    work_off()
    async_to_sync(result.arefresh)()
    assert (result.return_value, names()) == ("a", {"a"})


def test_a_body_is_tried_max_attempts_times() -> None:
    functions.tries.clear()
    result = functions.fail_twice.enqueue("a")
    work_off(ahead=timedelta(minutes=5))
    result.refresh()
    assert (result.status, result.return_value, result.attempts) == ("SUCCESSFUL", "a", 3)
    assert [error.exception_class for error in result.errors] == [OSError, OSError]


def test_a_task_outside_any_transaction_settles_its_effects() -> None:
    result = functions.note_outside.enqueue("a")
    work_off()
    result.refresh()
    assert (result.return_value, names()) == ("a", {"a"})


def test_the_options_of_the_ledger_are_those_of_its_jobs() -> None:
    first, second = functions.note_once.enqueue(17), functions.note_once.enqueue(order=17)
    assert first.id == second.id
    job = Job.objects.get()
    limits = job.envelope["headers"]["timelimit"]
    celery_task = celery_app.tasks[job.task]
    assert (job.queue, limits, celery_task.rate_limit) == ("outside", [10, 8.0], "1000/s")
    work_off()
    assert functions.note_once.enqueue(17).return_value == 17


def test_a_key_tells_of_one_job_and_not_of_a_second_call() -> None:
    with heard() as calls:
        first = functions.note_once.enqueue(17)
        functions.note_once.enqueue(17)
    assert calls == [("enqueued", first.id, "READY")]


def test_a_queue_of_a_task_that_nobody_hears_is_named_by_the_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = SimpleNamespace(queue="nowhere", module_path="proj.tasks.give")
    registered = SimpleNamespace(run=SimpleNamespace(django_task=asked))
    monkeypatch.setitem(function._registered, object(), registered)
    [wrong] = [one for one in run_checks() if one.id == "celery_ledger.E004"]
    assert wrong.msg == ("proj.tasks.give is for the queue nowhere, to which no worker listens.")


def test_a_task_may_run_later_in_another_queue() -> None:
    later = timezone.now() + timedelta(hours=1)
    call = functions.note.using(run_after=later, queue_name="bulk", priority=7)
    result = call.enqueue("a")
    job = Job.objects.get()
    assert (job.due_at, job.queue) == (later, "bulk")
    assert functions.note.get_result(result.id).task == call
    assert work_off() == 0


@pytest.mark.parametrize("value", [{"zeta": 1, "a": [None, True]}, 1.5, "鮭", None])
def test_json_comes_back(value: Any) -> None:
    result = functions.give.enqueue(value)
    work_off()
    result.refresh()
    assert result.return_value == {"value": value}


def test_what_is_no_json_is_refused_at_the_call() -> None:
    with pytest.raises(TypeError):
        functions.give.enqueue(object())
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        functions.give.enqueue()  # type: ignore[call-arg]
    assert Job.objects.count() == 0


def test_results_of_others_are_none() -> None:
    note, celerys = functions.note.enqueue("a"), tasks.note.delay("b")
    for id_ in (celerys.id, str(uuid4()), "nonsense"):
        with pytest.raises(TaskResultDoesNotExist):
            default_task_backend.get_result(id_)
    with pytest.raises(TaskResultMismatch):
        functions.give.get_result(note.id)


@contextmanager
def heard() -> Iterator[list[tuple[str, str, str]]]:
    calls: list[tuple[str, str, str]] = []

    def listen(signal: Any, task_result: Any, **_: Any) -> None:
        name = {id(task_enqueued): "enqueued", id(task_started): "started"}.get(id(signal))
        calls.append((name or "finished", task_result.id, str(task_result.status)))

    for signal in (task_enqueued, task_started, task_finished):
        signal.connect(listen)
    try:
        yield calls
    finally:
        for signal in (task_enqueued, task_started, task_finished):
            signal.disconnect(listen)


@pytest.mark.parametrize(
    ("function", "status"), [(functions.note, "SUCCESSFUL"), (functions.note_and_fail, "FAILED")]
)
def test_djangos_signals_are_sent(function: Any, status: str) -> None:
    with heard() as calls:
        result = function.enqueue("a")
        work_off()
    assert calls == [
        ("enqueued", result.id, "READY"),
        ("started", result.id, "RUNNING"),
        ("finished", result.id, status),
    ]


def test_what_has_finished_began_before() -> None:
    results: list[Any] = []

    def listen(task_result: Any, **_: Any) -> None:
        results.append(task_result)

    task_finished.connect(listen)
    try:
        functions.note.enqueue("a")
        work_off()
    finally:
        task_finished.disconnect(listen)
    assert results[0].started_at < results[0].finished_at


def test_a_listener_that_fails_is_not_the_jobs_fault() -> None:
    def fail(**_: Any) -> None:
        raise ValueError

    for signal in (task_started, task_finished):
        signal.connect(fail)
    try:
        result = functions.note.enqueue("a")
        work_off()
    finally:
        for signal in (task_started, task_finished):
            signal.disconnect(fail)
    result.refresh()
    assert result.status == "SUCCESSFUL"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_attempts": 0}, "max_attempts must be a whole number from 1 on, not 0"),
        ({"time_limit": -1}, "time_limit must be a number of seconds, not -1"),
        ({"rate_limit": "often"}, "rate_limit cannot be kept"),
        ({"rate_limit": "n:{nobody}=1/m"}, "rate_limit cannot be kept: its key names nobody"),
        ({"concurrency": 0}, "concurrency cannot be kept: '0' is no number of jobs"),
        ({"concurrency": "n:{name!r}=1"}, "may stand the name of an argument alone"),
        ({"queue_name": "nowhere"}, "Queue 'nowhere' is not valid"),
        ({"priority": 101}, "priority must be a whole number between"),
    ],
)
def test_options_that_cannot_be_are_refused_where_they_stand(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidTask, match=sentence):
        task(**options)(functions.note.func)


def test_the_jobs_of_a_key_run_so_many_at_once() -> None:
    jobs = [Job.objects.get(pk=functions.greet.enqueue(name).id) for name in "aab"]
    assert [job.concurrency_key for job in jobs] == ["key greet a", "key greet a", "key greet b"]
    Job.objects.filter(pk=jobs[0].pk).update(
        state="running", token=uuid4(), lease_until=timezone.now() + timedelta(hours=1), place=1
    )
    work_off()
    assert [Job.objects.get(pk=job.pk).state for job in jobs] == ["running", "waiting", "done"]


def test_a_misspelt_option_is_refused_where_it_stands() -> None:
    with pytest.raises(TypeError, match="max_tries"):
        task(max_tries=3)(functions.note.func)  # type: ignore[call-overload]


def test_a_queue_that_nobody_hears_is_named_by_the_check(settings: Any) -> None:
    assert [one.id for one in run_checks() if str(one.id).startswith("celery_ledger")] == []
    settings.TASKS = {"default": {**settings.TASKS["default"], "QUEUES": ["default", "x"]}}
    [wrong] = [one for one in run_checks() if one.id == "celery_ledger.E004"]
    assert wrong.msg == "TASKS names the queue x, to which no worker listens."


EARLY = """
import sys, types
from django.conf import settings
module = types.ModuleType("early")
sys.modules["early"] = module
exec('''
from django.tasks import task
@task
def hello(): return "hello"
''', module.__dict__)
import django
django.setup()
from celery import current_app
print("early.hello" in current_app.tasks)
"""


def test_a_function_may_be_older_than_the_models() -> None:
    """As a function in an app's models.py is, or in the `__init__` of a library."""
    seen = subprocess.run(
        [sys.executable, "-c", EARLY], capture_output=True, text=True, timeout=60, check=False
    )
    assert (seen.stdout, seen.returncode) == ("True\n", 0), seen.stderr
