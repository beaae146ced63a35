"""Of a worker with `-E`, whoever listens hears of every job, wherever it runs."""

import pytest
from redis import Redis

from celery_ledger.models import Job
from tests.celery_ledger.listening import listening
from tests.promises import tasks
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
DONE = ["task-received", "task-started", "task-succeeded"]


@pytest.mark.soak
def test_jobs_of_the_pool_and_of_the_threads_and_lost_ones_are_told_of(
    stack: Stack, broker: Redis, tally: object
) -> None:
    short = [tasks.count_quickly.delay(number).id for number in range(20)]
    calls = [tasks.call.delay(number, 0.1).id for number in range(3)]
    lost = tasks.poison.delay().id
    with listening(broker) as listener:
        stack.start("worker", "-E", "--include", "tests.promises.tasks")
        until(
            lambda: not Job.objects.exclude(state__in=("done", "dead")).exists(),
            "all have ended",
            within_s=90,
        )
        listener.until("task-failed", 1)
        listener.until("task-succeeded", len(short + calls))
    assert {id_: listener.of(id_) for id_ in short + calls} == dict.fromkeys(short + calls, DONE)
    begun = DONE[:2]
    assert listener.of(lost) == [*begun, "task-retried"] * 2 + [*begun, "task-failed"]
