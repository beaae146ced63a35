"""What a change of state writes beside it: the columns that go with waiting, with an end, with an
error.
"""

from datetime import UTC, datetime
from typing import Any

from django.db.models.functions import Greatest, Now

from celery_ledger.models.jobs.history import End, appended
from celery_ledger.models.jobs.states import State

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)  # no time of a row is before it


def waiting(due_at: datetime | Now) -> dict[str, Any]:
    return {
        "state": State.WAITING,
        "lease_until": None,
        "due_at": (from_now_on := Greatest(due_at, Now())),
        "ring_at": from_now_on,
        "rings": 0,
        "place": None,
    }


def ended(state: State) -> dict[str, Any]:
    return {"state": state, "lease_until": None, "finished_at": Now()}


def noted(end: End, error: dict[str, Any]) -> dict[str, Any]:
    return {"error": error, "history": appended(end, error)}
