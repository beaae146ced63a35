from typing import Any

import pytest
from celery import current_app
from celery.backends.redis import RedisBackend

from jobs.models import Job
from tests.jobs import redis_results
from tests.promises.processes import Stack


@pytest.mark.django_db(transaction=True)
def test_a_task_may_name_a_result_backend_of_its_own(
    stack: Stack, broker: Any, broker_url: str, monkeypatch: Any
) -> None:
    own = RedisBackend(app=current_app, url=broker_url)  # the worker's is the same: its settings name this broker
    monkeypatch.setattr(redis_results.double, "backend", own)
    stack.start("worker", "--include", "tests.jobs.redis_results")
    result = redis_results.double.delay(21)
    assert result.backend is own
    assert result.get(timeout=30) == 42
    assert broker.exists(f"celery-task-meta-{result.id}")
    assert (Job.objects.get().state, Job.objects.get().result) == ("done", 42)
