"""What `manage.py doctor` asks costs the same with a long past and a backlog."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection

from celery_ledger.models import Job
from config import doctor
from tests.celery_ledger import past
from tests.postgres.plans import plans_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("look", "index", "buffers"),
    [(doctor.running_jobs, "job_running", 100), (doctor.dead_jobs, "job_retryable", 60)],
)
def test_it_looks_at_no_job_that_is_well(
    look: Callable[[], doctor.Finding], index: str, buffers: int
) -> None:
    past.finish(20_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE celery_ledger_job")
    past.promise(2_000, due="-1 h", rings="100 s")
    held = list(Job.objects.filter(state="waiting").values_list("pk", flat=True)[:10])
    lease = timedelta(seconds=40)
    task = "tests.celery_ledger.tasks.add"
    Job.objects.claim(held, task=task, token=uuid4(), worker=None, pid=1, lease=lease)
    plans = plans_of(look)
    assert max(plan.buffers for plan in plans) <= buffers
    assert any(node.endswith(f"Scan of {index}") for plan in plans for node in plan.nodes)
