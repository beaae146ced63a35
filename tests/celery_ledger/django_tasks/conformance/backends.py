"""The ledger's backend as Django's tests of its own two expect one: what is enqueued is there at
once, or done at once.
"""

from typing import Any

from celery_ledger.django_tasks import LedgerBackend
from celery_ledger.models import Job
from celery_ledger.testing import work_off


class KeepingBackend(LedgerBackend):
    """In the place of `DummyBackend`."""

    @property
    def results(self) -> list[Any]:
        return [self.get_result(str(id_)) for id_ in Job.objects.values_list("pk", flat=True)]

    def clear(self) -> None:
        Job.objects.all().delete()


class WorkedOffBackend(LedgerBackend):
    """In the place of `ImmediateBackend`."""

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        result = super().enqueue(task, args, kwargs)
        work_off()
        result.refresh()
        return result
