"""Celery's consumer without what RabbitMQ would keep for jobs of later: 28 queues and as many
exchanges.

No job of later is in the broker; its time stands in its row. Nor has it limits of rates: the
ledger keeps them, and reads more in them than Celery does.
"""

from typing import Any, ClassVar

from celery.worker.consumer import Consumer

DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class LedgerConsumer(Consumer):  # type: ignore[misc]
    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        default_steps: ClassVar = [
            step for step in Consumer.Blueprint.default_steps if step != DELAYED_DELIVERY
        ]

    def bucket_for_task(self, type: Any) -> None:  # noqa: A002 - Celery's name
        """None of Celery's, which cannot be made of a rate by key."""


def has_processes(worker: Any) -> bool:
    """Whether the pool of this worker is one of processes, which it waits for when it stops."""
    return bool(worker.pool_cls.__module__ == "celery.concurrency.prefork")
