"""The two ways to test a task: worked off in this process, or by a real worker."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group as Note

from celery_ledger.models import Job
from tests.celery_ledger import tasks
from tests.promises.processes import Tree


@pytest.mark.django_db
def test_jobs_are_worked_off_inside_the_tests_own_transaction(work_off: Callable[..., int]) -> None:
    tasks.note.apply_async(("a",), link=tasks.note.si("b"))
    tasks.note.apply_async(("later",), countdown=60)
    assert work_off() == 2
    assert sorted(Note.objects.values_list("name", flat=True)) == ["a", "b"]
    assert work_off(ahead=timedelta(minutes=2)) == 1
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_works_on_the_tests_own_database(worker: Tree) -> None:
    assert tasks.note.delay("a").get(timeout=60, interval=0.1) == "a"
    assert (Note.objects.get().name, Job.objects.get().worker is None) == ("a", False)
    assert worker.process.poll() is None
