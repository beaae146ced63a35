"""kombu's Redis transport, for a list that anybody may have pushed anything to.

As it comes, one message that is not JSON, or not a message, ends the whole worker. A bell decides
nothing, so what is no bell can be dropped; a job that it may have meant is rung again by the clock.
"""

import contextlib
import logging
from typing import Any

from kombu.transport import redis
from kombu.transport.virtual import Empty
from kombu.utils.objects import cached_property

log = logging.getLogger(__name__)

MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


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
    """Hears nothing, so it needs no second connection to listen: every process has one of these."""

    @cached_property
    def client(self) -> Any:
        return self._create_client()  # type: ignore[no-untyped-call]


class RingingTransport(redis.Transport):
    Channel = RingingChannel
