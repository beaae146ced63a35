"""The columns that change together with the state of a job."""

from datetime import UTC, datetime
from typing import Any

from django.db.models.functions import Greatest, Now

from celery_ledger.models.jobs.history import End, appended
from celery_ledger.models.jobs.states import State

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)  # before any time in a row


def waiting(due_at: datetime | Now) -> dict[str, Any]:
    """The columns of a job that waits from now on, due at this time or now, whichever is later."""
    from_now_on = Greatest(due_at, Now())
    return {
        "state": State.WAITING,
        "lease_until": None,
        "due_at": from_now_on,
        "ring_at": from_now_on,
        "rings": 0,
        "place": None,
    }


def ended(state: State) -> dict[str, Any]:
    """The columns of a job that ends now, in this state."""
    return {"state": state, "lease_until": None, "finished_at": Now()}


def noted(end: End, error: dict[str, Any]) -> dict[str, Any]:
    """The columns that keep this error, as the newest one and in the history."""
    return {"error": error, "history": appended(end, error)}
