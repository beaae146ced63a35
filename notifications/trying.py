"""One try of a delivery: the other side is called, and what failed is written down at once."""

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from celery.exceptions import SoftTimeLimitExceeded

from notifications.models import Answer, Delivery, Endpoint, NotDelivered

Send = Callable[[Delivery], Answer]  # the edge of a channel; opens a socket, raises NotDelivered


class Try(NamedTuple):
    """What came of calling the other side once."""

    took_s: float
    answer: Answer | None = None  # None: it did not arrive, and an Attempt says so
    error: Exception | None = None  # why it did not
    next_in_s: float | None = None  # until the next try; None: none follows
    is_over: bool = False  # for this failure its endpoint was disabled, or its address suppressed


def place_s(delivery: Delivery) -> float:
    """In how many seconds the other side may be called; 0.0: now, and by the caller."""
    if delivery.endpoint is None:
        return 0.0
    return Endpoint.objects.take_turn(delivery.endpoint, at_once=delivery.is_test)


def try_once(delivery: Delivery, send: Send) -> Try:
    """Call the other side, outside of any transaction. Of a failure its Attempt is written."""
    began = monotonic()
    try:
        answer = send(delivery)
    except (NotDelivered, SoftTimeLimitExceeded) as exc:
        return _failed(delivery, exc, took_s=monotonic() - began)
    return Try(monotonic() - began, answer)


def end(delivery: Delivery, tried: Try) -> bool:
    """Write that it arrived or is given up, in the settling transaction of its job. True when its
    endpoint has recovered, or was disabled: whatever waits for it is due.
    """
    if tried.answer is not None:
        return delivery.succeed(tried.answer, after_s=tried.took_s)
    delivery.give_up()
    return tried.is_over and delivery.endpoint_id is not None


def _failed(delivery: Delivery, exc: Exception, *, took_s: float) -> Try:
    failure = exc if isinstance(exc, NotDelivered) else NotDelivered(str(exc))
    is_over = delivery.stumble(failure, after_s=took_s)
    if is_over or delivery.is_hopeless:
        return Try(took_s, error=exc, is_over=is_over)
    pause_s = max(delivery.pause_s, failure.pause_s)
    return Try(took_s, error=exc, next_in_s=min(pause_s, delivery.time_left_s))
