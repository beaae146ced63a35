"""What a running job publishes under its own id: a replacement (`replace`), or a retry of
itself.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from celery_ledger.models import Claim

# The running attempt (`execution.current` sets it); None outside any.
publisher: ContextVar[Any] = ContextVar("ledger_publisher", default=None)


def being_replaced() -> Claim | None:
    """The claim of the running job, if its replacement is being published now; else None. Then a
    message with the job's own id is no retry.
    """
    attempt = publisher.get()
    return attempt.claim if attempt is not None and attempt.replaced else None


def retry_as(say_after: Callable[[], Any], **changes: Any) -> None:
    """Note in the running attempt which columns `Task.retry()` changes, and what sends Celery's
    signal. The verdict writes them, and calls `say_after`.
    """
    attempt = publisher.get()
    if attempt is not None:
        attempt.retried_as, attempt.say_retried = changes, say_after
