"""A task that nothing but the ledger protects from happening twice: its effect has no unique
constraint.
"""

import contextlib
import ctypes
import os
import resource
import signal
import threading
import time

from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection

from celery_ledger import Job, outside, settle


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


@shared_task(atomic=False, threaded=True, soft_time_limit=110, time_limit=120)
def call(number: int, seconds: float) -> None:
    """Asks Postgres, waits for somebody's server in a thread, then counts."""
    assert not Job.objects.filter(task="").exists()
    with outside():
        time.sleep(seconds)
    _count(number)


@shared_task(atomic=False, threaded=True, soft_time_limit=1, time_limit=110)
def call_in_short_naps(number: int) -> None:
    """Waits for ever, and would hear of a soft time limit between two naps."""
    try:
        with outside():
            while True:
                time.sleep(0.05)
    except SoftTimeLimitExceeded:
        _count(number)


@shared_task(atomic=False, threaded=True, soft_time_limit=1, time_limit=2)
def call_for_ever(number: int) -> None:
    """Hears no time limit, and never ends."""
    with outside():
        threading.Event().wait()


@shared_task(atomic=False, threaded=True, soft_time_limit=110, time_limit=120)
def call_and_crash() -> None:
    """Takes the process of all calls down with it."""
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def _count(number: int) -> None:
    with settle(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO tally VALUES (%s)", [number])


@shared_task
def count_quickly(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO tally VALUES (%s)", [number])


@shared_task(soft_time_limit=110, time_limit=120)
def count_or_wait(number: int, seconds: float) -> None:
    """As one of a batch of quick ones it may be the slow one, or, below zero, the one that takes
    the process down.
    """
    count_quickly(number)
    if seconds < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
