"""The fixtures that the package brings along."""

from collections.abc import Callable
from typing import Any

import pytest

from celery_ledger.models import Job
from tests.celery_ledger import django_functions, tasks

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


def test_what_is_due_is_worked_off_without_a_worker(work_off: Callable[..., int]) -> None:
    tasks.add.delay(1, 2)
    assert work_off() == 1
