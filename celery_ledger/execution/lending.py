"""Lends this thread's connection to Postgres to other threads during a call to the outside
world.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from celery_ledger.execution.current import is_settling

_in_threads = False  # whether threads of this process share few connections


def run_in_threads() -> None:
    """Let `lend` work, from now on, in a process whose threads share few connections."""
    global _in_threads  # noqa: PLW0603 - what a process is for does not change
    _in_threads = True


@contextmanager
def outside() -> Iterator[None]:
    """Put it around a call to the outside world. In a thread, others may use the connection until
    the next statement here.

    Raises RuntimeError inside the transaction that settles a job: it would stay open for as long as
    somebody else's server takes.
    """
    if is_settling():
        raise RuntimeError("No call to the outside world while a job is being settled.")
    lend()
    yield


def lend() -> None:
    """Give this thread's connection back to the pool, if it is one of those that share a few."""
    if _in_threads:
        connections.close_all()
