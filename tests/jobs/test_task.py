"""Tasks with a key: the same job, however often and from however many places it is promised."""

from datetime import timedelta

import pytest
from celery import chain, group
from django.db import transaction

from jobs.models import Job
from jobs.testing import work_off
from orders.clients import Client
from tests.jobs import tasks
from tests.orders.test_models import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_second_call_returns_the_first_job() -> None:
    first = tasks.note_once.delay("a")
    second = tasks.note_once.delay(name="a", loud=True)
    work_off()
    third = tasks.note_once.apply_async(("a",), countdown=60)
    work_off(ahead=timedelta(days=1))
    assert first.id == second.id == third.id
    assert (third.get(timeout=5), Client.objects.get().name, Job.objects.count()) == ("a", "a False", 1)
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
