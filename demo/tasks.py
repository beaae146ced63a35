"""What breaks on purpose, in a worker."""

import os
import signal
from typing import Any

from billiard import current_process
from celery import Task, current_app, shared_task

from celery_ledger import Job, outside
from demo.menu import OrderForm, suggested
from demo.ordering import ordered


@shared_task(bind=True)
def order_and_fall(self: Task, form_id: str) -> str | None:
    """Place an order as the shop does. At the first attempt the process is killed before the
    transaction ends, so that nothing of it is there, and another process makes it again.
    """
    form = OrderForm(suggested(form_id))
    order = ordered(form) if form.is_valid() else None
    is_first = Job.objects.filter(pk=self.request.id, attempts=1).exists()
    if is_first and current_process().daemon:  # of a pool: never the worker's main process
        os.kill(os.getpid(), signal.SIGKILL)
    return order.number if order else None


@shared_task(atomic=False, soft_time_limit=20, time_limit=30)
def flush_broker() -> int | None:
    """Throw away every bell that waits in a queue of the broker: how many there were; None when the
    broker did not answer.
    """
    with outside(), current_app.connection_for_write() as connection:
        troubles = connection.recoverable_connection_errors + connection.recoverable_channel_errors
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
            return sum(_purged(queue, connection) for queue in current_app.amqp.queues.values())
        except troubles:
            return None


def _purged(queue: Any, connection: Any) -> int:
    bound = queue(connection.default_channel)
    bound.queue_declare()
    return int(bound.purge() or 0)
