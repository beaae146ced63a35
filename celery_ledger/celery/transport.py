"""kombu's Redis transport, made to bear that anybody may push anything to a queue's list.

In kombu's own, one message that is not JSON, or not a message, ends the whole worker. Here such a
message is dropped: if it was a bell, the clock rings for its job again.
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

# what kombu raises for a message that is none
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class Patience:
    """The order in which a process looks into its queues: each one when those before it are empty,
    except that a queue from which nothing was taken for QUEUE_PATIENCE_S comes first, once.
    """

    def __init__(self) -> None:
        self._taken_at: dict[str, float] = {}  # the newest message or job of each queue

    def late(self, queues: Sequence[str]) -> list[str]:
        """The queues, but for the first, that come first now."""
        now, late = monotonic(), []
        for queue in queues[1:]:
            taken_at = self._taken_at.setdefault(queue, now)
            if now - taken_at > ledger_settings.QUEUE_PATIENCE_S:
                late.append(queue)
        return late

    def took_from(self, queue: str) -> None:
        self._taken_at[queue] = monotonic()


class QueueOrder(priority_cycle):
    """The order of `Patience`, as a `queue_order_strategy` of kombu's."""

    def __init__(self, it: list[str] | None = None) -> None:
        super().__init__(it)  # type: ignore[no-untyped-call]
        self._patience = Patience()

    def consume(self, n: int) -> list[str]:
        """The first `n` queues to look into."""
        late = self._patience.late(self.items)
        return [*late, *(queue for queue in self.items if queue not in late)][:n]

    def rotate(self, last_used: str) -> str:
        """Note that a message came from this queue."""
        self._patience.took_from(last_used)
        return last_used


class SturdyChannel(redis.Channel):
    """A channel that drops what is no message, and from which bells can be popped."""

    do_restore = False  # the clock rings for bells that a worker took and did not begin
    takes_none_until = 0.0  # by the monotonic clock, after Redis failed: `celery.handing` sets it

    def take(self, queue: str, number: int) -> list[bytes]:
        """Pop up to `number` of the queue's next messages, as raw JSON."""
        with self.conn_or_acquire() as client:
            return client.rpop(queue, number) or []

    def put_back(self, queue: str, messages: list[bytes]) -> None:
        """Make these messages of `take`, in its order, the next of the queue again."""
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
    """The transport of workers."""

    Channel = SturdyChannel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        except MALFORMED as exc:
            log.warning("Dropped a message that is no bell: %s: %s", type(exc).__name__, exc)
            self._let_go_of(message)

    def _let_go_of(self, message: Any) -> None:
        """Reject a message that could not be delivered. Until then it counts among the fetched
        ones, and a worker may hold only so many.
        """
        for channel in self.channels:
            with contextlib.suppress(*MALFORMED):
                tag = message["properties"]["delivery_tag"]
                channel.qos.get(tag)  # raises for one that this channel has not counted
                channel.basic_reject(tag, requeue=False)


class RingingChannel(redis.Channel):
    """A channel that only publishes: it opens no second connection to listen by, and keeps one
    client, since to make a client costs as much as to ring.
    """

    @cached_property
    def client(self) -> Any:
        return self._create_client()  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        yield client or self.client


class RingingTransport(redis.Transport):
    """The transport of the bell, one in every process."""

    Channel = RingingChannel
