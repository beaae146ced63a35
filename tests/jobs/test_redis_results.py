from typing import Any

import pytest

from jobs.models import Job
from tests.jobs import redis_results
from tests.promises.processes import Stack


@pytest.mark.django_db(transaction=True)
def test_a_task_may_name_a_result_backend_of_its_own(
    stack: Stack, broker: Any, broker_url: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(redis_results.results, "url", broker_url)
    stack.start("worker", "--include", "tests.jobs.redis_results")
    result = redis_results.double.delay(21)
    assert result.backend is redis_results.results
    assert result.get(timeout=30) == 42
    assert broker.exists(f"celery-task-meta-{result.id}")
    assert (Job.objects.get().state, Job.objects.get().result) == ("done", 42)
