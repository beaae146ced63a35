"""Celery's consumer without two of its parts that the ledger replaces.

Delayed delivery: on RabbitMQ it declares 28 queues and as many exchanges for messages that are due
later. Here such a job waits in its row, and no message of it is in the broker.

Rate limits: the ledger keeps them in Postgres, and a limit by key is one that Celery cannot parse.
"""

from typing import Any, ClassVar

from celery.worker.consumer import Consumer

DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class LedgerConsumer(Consumer):  # type: ignore[misc]
    """A consumer that declares nothing for delayed delivery and limits no rates."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        default_steps: ClassVar = [
            step for step in Consumer.Blueprint.default_steps if step != DELAYED_DELIVERY
        ]

    def bucket_for_task(self, type: Any) -> None:  # noqa: A002 - Celery's name
        """None, for no rate limit: Celery cannot make a bucket of a limit by key."""


def has_processes(worker: Any) -> bool:
    """Whether this worker has a pool of processes (prefork)."""
    return bool(worker.pool_cls.__module__ == "celery.concurrency.prefork")
