"""Writes one line of the log for every attempt: which job, how it ended, how long it took. The same
goes into its span and into Celery's events.
"""

import logging
from time import monotonic
from types import TracebackType
from typing import Any

from celery.exceptions import Ignore, Retry

from celery_ledger import context
from celery_ledger.errors import NotAnException, OneByOne
from celery_ledger.telemetry import events

log = logging.getLogger("celery_ledger.attempts")


class AttemptLine:
    """A context manager around an attempt, inside the attempt's context. It logs the outcome:
    `done`, `replaced`, `retry`, `dead`, `cancelled`, `interrupted` (the job waits again through no
    fault of its own, or was rescued) or `stopped` (the process ends).
    """

    def __init__(self, attempt: Any, span: dict[str, Any]) -> None:
        self.attempt = attempt
        self.span = span

    def __enter__(self) -> None:
        self.began = monotonic()
        if self.attempt.body is not None:
            events.started(self.attempt)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(exc, OneByOne):
            return  # it is made again by itself, and logged then
        outcome = self._outcome(exc)
        error = _behind(exc) if outcome not in ("done", "replaced") else None
        duration_s = (self.attempt.ended or monotonic()) - self.began
        fields = {
            "task": self.attempt.task.name,
            "attempt": self.attempt.claim.attempts,
            "outcome": outcome,
            "duration_ms": round(duration_s * 1000),
            **({"error": type(error).__name__} if error else {}),
        }
        is_dead = outcome == "dead"
        ids = {"job": str(self.attempt.claim.id), "request_id": context.current().get("request_id")}
        self.span.update(
            {
                "failed": is_dead,
                **{f"ledger.{name}": value for name, value in {**fields, **ids}.items()},
            }
        )
        level = logging.ERROR if is_dead else logging.INFO
        log.log(level, "attempt", extra={"fields": fields}, exc_info=error if is_dead else None)
        events.ended(self.attempt, outcome, error, duration_s)

    def _ignored(self, cause: BaseException | None) -> str:
        """The outcome of an attempt that ended in Ignore, by the exception behind that."""
        if self.attempt.replaced and isinstance(cause, Ignore):
            return "replaced"
        if cause is None:
            return "cancelled"
        return "dead" if isinstance(cause, MemoryError) else "interrupted"

    def _outcome(self, exc: BaseException | None) -> str:
        if exc is None or self.attempt.settled:
            return "replaced" if self.attempt.replaced else "done"
        match exc:
            case Retry():
                return "retry"
            case Ignore():
                return self._ignored(exc.__cause__)
            case Exception():
                return "dead"
        return "stopped"


def _behind(exc: BaseException | None) -> BaseException | None:
    """The body's own error, where this is an exception of Celery's or the ledger's around it."""
    if isinstance(exc, Retry):
        return exc.exc if isinstance(exc.exc, BaseException) else None
    return exc.__cause__ if isinstance(exc, (Ignore, NotAnException)) else exc
