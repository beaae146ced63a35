"""What Postgres itself refuses, whatever the code does."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError
from django.utils import timezone

from celery_ledger.models import Claim, Job, Settled, State
from tests.celery_ledger import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def claim() -> Claim:
    tasks.add.delay(1, 1)
    [claim] = Job.objects.claim(
        [Job.objects.get().pk],
        task="tests.celery_ledger.tasks.add",
        token=uuid4(),
        worker=None,
        pid=1,
        lease=timedelta(seconds=40),
    )
    return claim


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"state": "running"}, "job_running_has_lease"),
        ({"lease_until": timezone.now()}, "job_running_has_lease"),
        ({"state": "done"}, "job_finished_has_time"),
        ({"finished_at": timezone.now()}, "job_finished_has_time"),
        ({"state": "resting"}, "job_state"),
    ],
)
def test_a_waiting_row_that_contradicts_itself_is_refused(
    changes: dict[str, Any], constraint: str
) -> None:
    tasks.add.delay(1, 1)
    with pytest.raises(IntegrityError, match=constraint):
        Job.objects.update(**changes)


ERROR = {"type": "Lost", "message": "somewhere"}


@pytest.mark.parametrize("end", [State.DONE, State.DEAD, State.CANCELLED])
def test_a_finished_job_cannot_be_claimed_settled_or_rescued(claim: Claim, end: State) -> None:
    Job.objects.update(state=end, lease_until=None, finished_at=timezone.now())
    again = Job.objects.claim(
        [claim.id],
        task="tests.celery_ledger.tasks.add",
        token=uuid4(),
        worker=None,
        pid=1,
        lease=timedelta(seconds=40),
    )
    assert again == []
    assert Job.objects.settle([Settled(claim, 1, [])]) is False
    assert Job.objects.kill(claim, error=ERROR) is False
    assert Job.objects.put_back(claim, due_at=timezone.now(), error=ERROR, retried=True) is False
    assert not Job.objects.lost().exists()
    assert Job.objects.get().state == end


def test_a_claim_takes_what_is_due_and_leaves_the_rest() -> None:
    due, later = tasks.add.delay(1, 1), tasks.add.apply_async((2, 2), countdown=60)
    claims = Job.objects.claim(
        [uuid4(), Job.objects.get(pk=later.id).pk, Job.objects.get(pk=due.id).pk],
        task="tests.celery_ledger.tasks.add",
        token=uuid4(),
        worker=None,
        pid=1,
        lease=timedelta(seconds=40),
    )
    assert [(str(claim.id), claim.args, claim.attempts) for claim in claims] == [
        (due.id, [1, 1], 1)
    ]
