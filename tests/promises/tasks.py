"""A task that nothing but the ledger protects from happening twice: its effect has no unique
constraint.
"""

import contextlib
import ctypes
import os
import resource
import signal
import time

from celery import Task, shared_task
from django.db import connection

from celery_ledger.execution.attempt import settle


# long enough that a ghost is not stopped by its own time limit
@shared_task(soft_time_limit=110, time_limit=120)
def tally(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO tally VALUES (%s)", [number])
        cursor.execute("SELECT pg_sleep(0.1)")


@shared_task(bind=True, atomic=False, soft_time_limit=2, time_limit=3)
def tally_at_second_try(self: Task, number: int) -> None:
    """Passes every place of an attempt: a verdict at its first try, effects at its second."""
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    with settle(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO tally VALUES (%s)", [number])


@shared_task
def poison() -> None:
    """Takes its worker process down with it, as a segfault or the kernel's memory killer would."""
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(soft_time_limit=1, time_limit=2)
def deaf() -> None:
    """Hears no soft time limit, and never ends."""
    while True:
        with contextlib.suppress(Exception):
            time.sleep(60)


@shared_task
def crash() -> None:
    """A segmentation fault, as a broken extension module makes it."""
    ctypes.string_at(0)


@shared_task
def glutton() -> None:
    """Wants more memory than there is."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, limits[1]))
    try:
        bytearray(1 << 31)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@shared_task(atomic=False, soft_time_limit=110, time_limit=120)
def nap(number: int, seconds: float) -> None:
    """Waits for somebody outside, then counts."""
    time.sleep(seconds)
    with settle(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO tally VALUES (%s)", [number])
