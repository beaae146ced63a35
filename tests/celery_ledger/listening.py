"""Somebody who listens to a worker's events, as `celery events` and Flower do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from celery import current_app as celery_app
from redis import Redis

from tests.waiting import until

Event = dict[str, Any]


class Listener:
    def __init__(self, listen: Callable[[], None], heard: list[Event]) -> None:
        self._listen, self._heard = listen, heard

    def of(self, id_: Any) -> list[str]:
        return [event["type"] for event in self._heard if event.get("uuid") == str(id_)]

    def until(self, kind: str, number: int, *, within_s: float = 10) -> list[Event]:
        """The events of this kind, once there are so many."""

        def are_heard() -> bool:
            self._listen()
            return len(self._of_kind(kind)) >= number

        until(are_heard, f"{number} of {kind}", within_s=within_s)
        return self._of_kind(kind)

    def _of_kind(self, kind: str) -> list[Event]:
        return [event for event in self._heard if event["type"] == kind]


@contextmanager
def listening(broker: Redis) -> Iterator[Listener]:
    heard: list[Event] = []
    before: int = broker.pubsub_numpat()
    with celery_app.connection_for_read() as connection:
        receiver = celery_app.events.Receiver(
            connection, handlers={"*": heard.append}, app=celery_app
        )
        with receiver.consumer_context() as (consumer, *_):

            def listen() -> None:
                with suppress(TimeoutError):
                    consumer.drain_events(timeout=0.1)

            def is_heard() -> bool:
                listen()
                return bool(broker.pubsub_numpat() > before)

            until(is_heard, "the broker knows of it", within_s=10)
            yield Listener(listen, heard)
