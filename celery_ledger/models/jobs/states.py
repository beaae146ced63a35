"""What a job may be at."""

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


# By the CHECKs below these say the same as the state, to whoever has the id; why not by the state
# is said at CLAIM.
WAITS: dict[str, Any] = {"lease_until__isnull": True, "finished_at__isnull": True}
RUNS: dict[str, Any] = {"lease_until__isnull": False}
