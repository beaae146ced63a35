"""kombu's Redis transport, for a list that anybody may have pushed anything to.

As it comes, one message that is not JSON, or not a message, ends the whole worker. A bell decides
nothing, so what is no bell can be dropped; a job that it may have meant is rung again by the clock.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any

from kombu.transport import redis
from kombu.transport.virtual import Empty
from kombu.utils.objects import cached_property
from kombu.utils.scheduling import priority_cycle

from celery_ledger.conf import ledger_settings

log = logging.getLogger(__name__)

MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class Patience:
    """In which order a process looks for work in its queues: in each when those before it are
    empty; but one that it took nothing from for QUEUE_PATIENCE_S comes first, once.
    """

    def __init__(self) -> None:
        self._taken_at: dict[str, float] = {}

    def late(self, queues: Sequence[str]) -> list[str]:
        """Those of the later queues that come first now."""
        now, patience_s = monotonic(), ledger_settings.QUEUE_PATIENCE_S
        return [q for q in queues[1:] if now - self._taken_at.setdefault(q, now) > patience_s]

    def took_from(self, queue: str) -> None:
        self._taken_at[queue] = monotonic()


class QueueOrder(priority_cycle):
    """kombu's `queue_order_strategy`."""

    def __init__(self, it: list[str] | None = None) -> None:
        super().__init__(it)  # type: ignore[no-untyped-call]
        self._patience = Patience()

    def consume(self, n: int) -> list[str]:
        late = self._patience.late(self.items)
        return [*late, *(queue for queue in self.items if queue not in late)][:n]

    def rotate(self, last_used: str) -> str:
        """A message came from there."""
        self._patience.took_from(last_used)
        return last_used


class SturdyChannel(redis.Channel):
    do_restore = False  # what a worker took and did not begin, the clock rings again
    takes_none_until = 0.0  # after it could not

    def take(self, queue: str, number: int) -> list[bytes]:
        """Up to so many of its next messages, as they stand there."""
        with self.conn_or_acquire() as client:
            return client.rpop(queue, number) or []

    def put_back(self, queue: str, messages: list[bytes]) -> None:
        """What `take` has taken, in its order, is the next again."""
        if messages:
            with self.conn_or_acquire() as client:
                client.rpush(queue, *reversed(messages))

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (ValueError, RecursionError) as exc:  # not UTF-8, not JSON, or far too deep
            log.warning("Dropped a message that is no bell: %s", exc)
            raise Empty from exc


class SturdyTransport(redis.Transport):
    Channel = SturdyChannel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        except MALFORMED as exc:
            log.warning("Dropped a message that is no bell: %s: %s", type(exc).__name__, exc)
            self._let_go_of(message)

    def _let_go_of(self, message: Any) -> None:
        """What nobody took counts as fetched until it is rejected, and a worker fetches no more
        than it may hold.
        """
        for channel in self.channels:
            with contextlib.suppress(*MALFORMED):
                tag = message["properties"]["delivery_tag"]
                channel.qos.get(tag)  # raises for one that was not counted
                channel.basic_reject(tag, requeue=False)


class RingingChannel(redis.Channel):
    """Hears nothing, so it needs no second connection to listen: every process has one of these,
    and of it one client, which costs as much to make as to ring.
    """

    @cached_property
    def client(self) -> Any:
        return self._create_client()  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        yield client or self.client


class RingingTransport(redis.Transport):
    Channel = RingingChannel
