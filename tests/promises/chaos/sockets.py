"""Included into the workers of chaos: notes each socket that Python opens inside a transaction
(invariant I13).
"""

import os
import sys
from pathlib import Path
from typing import Any

from django.db import connection

from tests.promises.chaos.outside.journal import Journal

JOURNAL = "CHAOS_SOCKETS"
_journal = Journal(Path(os.environ[JOURNAL])) if JOURNAL in os.environ else None


def _notice(event: str, args: tuple[Any, ...]) -> None:
    """libpq's own sockets are not Python's, so what is seen here goes elsewhere."""
    if _journal is not None and event == "socket.connect" and connection.in_atomic_block:
        _journal.note(to=str(args[1]))


sys.addaudithook(_notice)
