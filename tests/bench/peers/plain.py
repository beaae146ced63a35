"""Plain Celery, tuned: acknowledged late, no results, connections that outlive a task.

`python -m tests.bench.peers.plain NUMBER` promises so many jobs.
"""

import os
import sys
from typing import Any

import django
from celery import Celery, signals
from django.db import close_old_connections, connections, transaction

django.setup()

from tests.bench.peers.work import count  # noqa: E402

app = Celery("plain", broker=os.environ["REDIS_URL"], fixups=[])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue="plain",
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=4,
)


@app.task(name="plain.count")  # type: ignore[untyped-decorator]
def count_plainly(number: int) -> None:
    with transaction.atomic():
        count(number)


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _forget_the_parents(**_: Any) -> None:
    connections.close_all()


@signals.task_postrun.connect  # type: ignore[untyped-decorator]
def _as_after_a_request(**_: Any) -> None:
    close_old_connections()


if __name__ == "__main__":
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(int(sys.argv[1])):
            count_plainly.apply_async((number,), producer=producer)
