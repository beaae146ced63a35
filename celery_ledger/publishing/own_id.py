"""What a job publishes under its own id: its replacement, or itself, to be tried again."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from celery_ledger.models import Claim

# The attempt whose body is being run (`execution.current` sets it); None outside any.
publisher: ContextVar[Any] = ContextVar("ledger_publisher", default=None)


def being_replaced() -> Claim | None:
    """The job whose replacement is published right now: then an id that exists is no retry."""
    attempt = publisher.get()
    return attempt.claim if attempt is not None and attempt.replaced else None


def retry_as(say_after: Callable[[], Any], **changes: Any) -> None:
    """`Task.retry()` with options: the columns of this job's row that they change, written with the
    verdict, and what Celery says then.
    """
    attempt = publisher.get()
    if attempt is not None:
        attempt.retried_as, attempt.say_retried = changes, say_after
