"""The fixtures that the package brings along."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from celery_ledger import testing
from celery_ledger.models import Job
from celery_ledger.testing import worker
from tests.celery_ledger import tasks
from tests.celery_ledger.django_tasks import django_functions

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("number", [1, 2])
def test_a_worker_does_what_is_promised_and_leaves_nothing_behind(
    ledger_worker: Any, number: int
) -> None:
    assert tasks.add.delay(number, 2).get(timeout=20, interval=0.05) == number + 2
    assert Job.objects.get().state == "done"


def test_a_worker_does_a_task_of_djangos_too(ledger_worker: Any) -> None:
    result = django_functions.note.enqueue("a")
    tasks.add.delay(1, 1).get(timeout=20, interval=0.05)  # which comes after it
    result.refresh()
    assert result.return_value == "a"


def test_after_a_worker_jobs_are_worked_off_in_a_transaction_that_stays() -> None:
    with worker():
        pass
    with transaction.atomic():
        tasks.note.delay("a")
        assert testing.work_off() == 1
        tasks.note.delay("b")
    assert list(Job.objects.order_by("created_at").values_list("state", flat=True)) == [
        "done",
        "waiting",
    ]


def test_what_is_due_is_worked_off_without_a_worker(work_off: Callable[..., int]) -> None:
    tasks.add.delay(1, 2)
    assert work_off() == 1
