"""`with outside():` stands around a call to the outside world, wherever it is made."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from celery_ledger.execution.current import is_settling

_in_threads = False


def run_in_threads() -> None:
    """Said once in a process whose threads share few connections."""
    global _in_threads  # noqa: PLW0603 - what a process is for does not change
    _in_threads = True


@contextmanager
def outside() -> Iterator[None]:
    """In this block nothing is asked of Postgres: in a thread, the connection goes to others for
    that long. It comes back with the next statement.

    Raises RuntimeError inside the transaction that settles a job: it would stay open as long as
    somebody else's server likes.
    """
    if is_settling():
        raise RuntimeError("No call to the outside world while a job is being settled.")
    lend()
    yield


def lend() -> None:
    """In a thread, the connection goes to others until the next statement."""
    if _in_threads:
        connections.close_all()
