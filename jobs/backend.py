"""Celery's result backend, read from the ledger. Nothing is stored through it: the settling transaction did."""

from typing import Any
from uuid import UUID

from celery import states
from celery.backends.base import BaseBackend

from jobs.models import Job, State

CELERY_STATES = {
    State.WAITING: states.PENDING,
    State.RUNNING: states.STARTED,
    State.DONE: states.SUCCESS,
    State.DEAD: states.FAILURE,
    State.CANCELLED: states.REVOKED,
}


class LedgerBackend(BaseBackend):  # type: ignore[misc]
    """`AsyncResult.state`, `.get()` and `.result` from Postgres.

    Celery also reports failures from the worker's parent process, before the child is known to be dead (time limits,
    lost workers, unknown tasks). Those reports are not verdicts: the clock rescues such a job.
    """

    persistent = True

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        job = Job.objects.filter(pk=UUID(task_id)).first()
        if job is None:
            return {"task_id": task_id, "status": states.PENDING, "result": None}
        state = CELERY_STATES[State(job.state)]
        if state == states.PENDING and job.retries:
            state = states.RETRY
        return {"task_id": task_id, "status": state, "result": self._outcome(job), "traceback": None, "children": []}

    def _outcome(self, job: Job) -> Any:
        if job.state in (State.DEAD, State.CANCELLED) and job.error:
            return self.exception_to_python(
                {"exc_type": job.error["type"], "exc_message": [job.error["message"]], "exc_module": "builtins"}
            )
        return job.result

    def mark_as_done(self, *args: Any, **kwargs: Any) -> None:
        """The row is settled."""

    def mark_as_failure(self, *args: Any, **kwargs: Any) -> None:
        """The row has its verdict, or the clock gives it one."""

    def mark_as_retry(self, *args: Any, **kwargs: Any) -> None:
        """The row waits."""

    def mark_as_revoked(self, *args: Any, **kwargs: Any) -> None:
        """The row says what it is."""

    def store_result(self, *args: Any, **kwargs: Any) -> None:
        """Results reach the row with the settling transaction."""

    def apply_chord(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("Chords are not on the ledger yet.")
