"""One line of the log (and what its span and Celery's events say) for every attempt: which job, how
it ended, how long it took.
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
    """Around an attempt, inside its context: says at its end `done`, `replaced`, `retry`, `dead`,
    `cancelled`, `interrupted` (it waits again, through no fault of its own, or is somebody else's)
    or `stopped`.
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
            return  # the next one tells
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
        """How it ended whose bell Celery was told to forget, because of this."""
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
    """The error that Celery's own wrap."""
    if isinstance(exc, Retry):
        return exc.exc if isinstance(exc.exc, BaseException) else None
    return exc.__cause__ if isinstance(exc, (Ignore, NotAnException)) else exc
