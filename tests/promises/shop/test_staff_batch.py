"""All dead jobs are retried by one press, while workers are killed: each of them once."""

import signal
from uuid import uuid4

import pytest
from django.db import connection

from celery_ledger import Job
from ops.jobs.choosing import Chosen
from ops.models import JobBatch, StaffAction
from ops.tasks import begin
from tests.celery_ledger import past
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
JOBS = 1000
TASK = "orders.tasks.reserve"  # which dies at once without an order


def dead_jobs() -> None:
    past.finish(JOBS)
    Job.objects.update(
        state="dead", task=TASK, queue="kaiten", args=[[], {}], error={"type": "E", "message": "x"}
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE celery_ledger_job")


@pytest.mark.timeout(180)
def test_a_batch_survives_its_workers_and_retries_each_job_once(
    stack: Stack, django_user_model: type
) -> None:
    dead_jobs()
    hana = django_user_model.objects.create_user("hana")  # type: ignore[attr-defined]
    id_ = uuid4()
    for _ in range(2):  # a double click
        batch = begin(id_, "retry", Chosen(state="dead", task=TASK), by=hana)
    assert (batch.counted, StaffAction.objects.count()) == (JOBS, 1)
    for enough in (JOBS // 10, JOBS // 2):
        tree = stack.start("worker")
        until(
            lambda enough=enough: JobBatch.objects.get().done >= enough,  # type: ignore[misc]
            "the batch has come so far",
            within_s=60,
        )
        tree.signal(signal.SIGKILL)
    stack.start("worker")
    until(lambda: JobBatch.objects.get().ended_at is not None, "the batch has ended", within_s=90)
    batch = JobBatch.objects.get()
    assert (batch.done, batch.looked, batch.stopped_by) == (JOBS, JOBS, "")
    tried = Job.objects.filter(task=TASK)
    until(lambda: not tried.exclude(state="dead").exists(), "each has died again", within_s=60)
    retried = [
        sum(end["end"] == "retried" for end in history)
        for history in tried.values_list("history", flat=True)
    ]
    assert set(retried) == {1}
    assert len(retried) == JOBS
