"""Places between two lines where a test may make the worst happen. Nothing happens unless
FAILPOINTS names a folder.

A file in that folder, named after a place, holds what happens to the next process that reaches it:
`kill` or `stop` (the process), `raise` (an exception), `drop` (its connection to Postgres). Whoever
gets the file away is the one.
"""

import os
import signal
import socket
from enum import StrEnum
from pathlib import Path

from django.db import connection

from celery_ledger.conf import ledger_settings


class At(StrEnum):
    """In the order in which a job passes them."""

    AFTER_PROMISE = "after_promise"  # its row is written; within a transaction, not committed
    BEFORE_RING = "before_ring"  # committed, nobody has heard
    AFTER_RING = "after_ring"
    AFTER_CLAIM = "after_claim"
    AFTER_EXTERNAL = "after_external"  # the outside world has done its part, nothing is settled
    BEFORE_COMMIT = "before_commit"  # effects, follow-ups and "done" are written
    AFTER_COMMIT = "after_commit"
    BEFORE_VERDICT = "before_verdict"  # the effects are rolled back
    AFTER_VERDICT = "after_verdict"
    BEFORE_RESCUE = "before_rescue"  # the clock's: lost jobs are given back, not committed
    BEFORE_RING_AGAIN = "before_ring_again"  # the clock's: the bells are noted, not rung


class Reached(Exception):
    """What `raise` raises."""


def reach(place: At) -> None:
    """Nothing, or what the test wants to happen here."""
    if ledger_settings.FAILPOINTS is None:
        return
    order = Path(ledger_settings.FAILPOINTS, place)
    taken = order.with_suffix(f".{os.getpid()}")
    try:
        order.rename(taken)
    except FileNotFoundError:
        return
    match taken.read_text():
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "raise":
            raise Reached(place)
        case "drop":
            _drop_connection()


def _drop_connection() -> None:
    """As a network does it: the next word to Postgres finds nobody."""
    if connection.connection is not None:
        with socket.socket(fileno=os.dup(connection.connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)
