"""Tasks with a key: one job, however often and from however many places it is promised."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery import chain, group
from celery import current_app as celery_app
from celery.app.trace import trace_task
from django.contrib.auth.models import Group as Note
from django.db import transaction

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from tests.celery_ledger import tasks
from tests.celery_ledger.errors import error_of
from tests.postgres.hands import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_second_call_returns_the_first_job() -> None:
    first = tasks.note_once.delay("a")
    second = tasks.note_once.delay(name="a", loud=True)
    work_off()
    third = tasks.note_once.apply_async(("a",), countdown=60)
    work_off(ahead=timedelta(days=1))
    assert first.id == second.id == third.id
    assert (third.get(timeout=5), Note.objects.get().name, Job.objects.count()) == (
        "a",
        "a False",
        1,
    )
    assert tasks.note_once.delay("b").id != first.id


def test_eight_hands_promise_one_job() -> None:
    ids = in_threads(lambda _: tasks.note_once.delay("a").id, list(range(24)))
    assert (len(set(ids)), Job.objects.count()) == (1, 1)


def test_a_call_that_is_rolled_back_leaves_the_key_free() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        tasks.note_once.delay("a")
        raise ZeroDivisionError
    tasks.note_once.delay("a")
    assert Job.objects.count() == 1


def test_two_tasks_do_not_share_their_keys() -> None:
    tasks.note_once.delay("1")
    tasks.retry_once.delay(1)
    assert Job.objects.count() == 2


def test_a_key_that_names_no_argument_fails_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.note_once, "key", "note:{nobody}")
    with pytest.raises(ValueError, match="names 'nobody', which is no argument"):
        tasks.note_once.delay("a")


def test_a_keyed_task_may_retry() -> None:
    result = tasks.retry_once.delay(7)
    work_off(ahead=timedelta(days=1))
    assert (result.get(timeout=5), Job.objects.get().retries) == (7, 1)


def test_a_keyed_task_is_refused_as_a_step_of_a_canvas() -> None:
    with pytest.raises(ValueError, match="cannot be a step of a canvas"):
        group(tasks.note_once.s("a"), tasks.note_once.s("b")).apply_async()
    with pytest.raises(ValueError, match="cannot be a step of a canvas"):
        chain(tasks.note_once.s("a"), tasks.note_once.si("b")).apply_async()
    with pytest.raises(ValueError, match="cannot be a step of a canvas"):
        chain(tasks.note.s("a"), tasks.note_once.si("b")).apply_async()
    assert Job.objects.count() == 0


def test_a_task_that_talks_to_the_outside_is_not_mapped_inside_a_transaction() -> None:
    for shape in (
        tasks.settle_twice.map([1]),
        tasks.settle_twice.starmap([(1,)]),
        tasks.settle_twice.chunks([(1,)], 1),
    ):
        with pytest.raises(ValueError, match="is atomic=False, and celery"):
            shape.apply_async()
    assert Job.objects.count() == 0


def test_apply_runs_the_body_here_and_now_without_a_job() -> None:
    assert tasks.note.apply(("a",)).get() == "a"
    assert (tasks.add.s(1) | tasks.add.s(5)).apply((1,)).get() == 7
    assert group(tasks.add.s(1, 1), tasks.add.s(2, 2)).apply().get() == [2, 4]
    with pytest.raises(ValueError, match="no such luck"):
        tasks.note_then_fail.apply(("b",)).get()
    assert Job.objects.count() == 0


@pytest.mark.parametrize("forged", [{"is_eager": True}, {"called_directly": True}])
def test_a_forged_bell_cannot_make_a_body_run_without_its_job(forged: dict[str, bool]) -> None:
    request = {"id": str(uuid4()), "task": tasks.note.name, "delivery_info": {}, **forged}
    trace_task(tasks.note, request["id"], ("forged",), {}, request=request, app=celery_app)
    assert Note.objects.count() == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda task: task.retry(throw=False),
        lambda task: task.update_state(state="PROGRESS", meta={"done": 1}),
    ],
)
def test_what_the_ledger_cannot_do_says_so(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.note, "run", lambda name: call(tasks.note))
    tasks.note.delay("a")
    work_off()
    assert (Job.objects.get().state, error_of(Job.objects.get())["type"]) == (
        "dead",
        "NotImplementedError",
    )
