"""The states of a job."""

from typing import Any

from django.db import models


class State(models.TextChoices):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


FINISHED = (State.DONE, State.DEAD, State.CANCELLED)
RETRYABLE = (State.DEAD, State.CANCELLED)


# Filters for queries by id. By the CHECKs of the table they say the same as the state; `claim.DUE`
# says why such a query does not ask for the state.
WAITS: dict[str, Any] = {"lease_until__isnull": True, "finished_at__isnull": True}
RUNS: dict[str, Any] = {"lease_until__isnull": False}
