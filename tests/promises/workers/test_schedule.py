"""Scheduled work without a beat: one job per slot with no worker, with one, with several killed."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.models.schedule import Schedule
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
SCHEDULED = ("worker", "--include", "tests.promises.included.scheduled", "--concurrency", "1")


@pytest.mark.soak
def test_every_slot_is_one_job_whoever_was_there_for_it(
    stack: Stack, tally: Callable[[], Counter[int]]
) -> None:
    begin = (timezone.now() - timedelta(seconds=20)).replace(microsecond=0)
    Schedule.objects.create(name="every-second", promised_until=begin)  # and then nobody was there

    def slots() -> int:
        until_now: timedelta = Schedule.objects.get(name="every-second").promised_until - begin
        return round(until_now.total_seconds())

    first = stack.start(*SCHEDULED)
    until(lambda: slots() > 20, "the missed slots are caught up", within_s=60)
    others = [stack.start(*SCHEDULED) for _ in range(2)]
    until(lambda: slots() > 30, "time goes on", within_s=60)
    first.kill()
    until(lambda: slots() > 35, "the others go on", within_s=60)
    for other in others:
        other.kill()
    promised = Job.objects.filter(task="tests.promises.tasks.tally").count()
    assert promised == slots()
    stack.start("worker", "--include", "tests.promises.tasks")
    until(
        lambda: not Job.objects.exclude(state="done").exists(), "all of them are done", within_s=90
    )
    assert tally()[1] == promised
