"""Places in the code at which a test may make a failure happen. Nothing happens unless the setting
FAILPOINTS names a folder.

A file in that folder has the name of a place, and holds what happens to the next process that
reaches it: `kill` or `stop` (the process), `raise` (an exception), `drop` (its connection to
Postgres). The first process that can rename the file is that process.
"""

import os
import signal
import socket
from enum import StrEnum
from pathlib import Path

from django.db import connection

from celery_ledger.conf import ledger_settings


class At(StrEnum):
    """The places, in the order in which a job passes them."""

    AFTER_PROMISE = "after_promise"  # its row is written, and perhaps not committed
    BEFORE_RING = "before_ring"  # it is committed, and no bell has rung
    AFTER_RING = "after_ring"
    AFTER_CLAIM = "after_claim"
    AFTER_EXTERNAL = "after_external"  # calls to the outside world are over, and nothing is settled
    BEFORE_COMMIT = "before_commit"  # effects, follow-ups and "done" are written
    AFTER_COMMIT = "after_commit"
    BEFORE_VERDICT = "before_verdict"  # the effects are rolled back
    AFTER_VERDICT = "after_verdict"
    BEFORE_RESCUE = "before_rescue"  # the clock has given lost jobs back, and has not committed
    BEFORE_RING_AGAIN = "before_ring_again"  # the clock has noted bells, and has not rung them


class Reached(Exception):
    """The exception that `raise` means."""


def reach(place: At) -> None:
    """Do what a file of this place says; nothing, if there is none."""
    if ledger_settings.FAILPOINTS is None:
        return
    order = Path(ledger_settings.FAILPOINTS, place)
    own_order = order.with_suffix(f".{os.getpid()}")
    try:
        order.rename(own_order)
    except FileNotFoundError:
        return
    match own_order.read_text():
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "raise":
            raise Reached(place)
        case "drop":
            _drop_connection()


def _drop_connection() -> None:
    """Shut the connection's socket down, as a network may: the next statement fails."""
    if connection.connection is not None:
        with socket.socket(fileno=os.dup(connection.connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)
