"""Verdicts that cannot be written, since Postgres is away or may not write. A thread of the process
that owes one gives its job back as soon as it can, long before the lease has run out.
"""

import contextvars
import threading
import time
from collections.abc import Callable

from django.db import Error, connection

from celery_ledger.conf import ledger_settings
from celery_ledger.execution.trouble import in_trouble


def owe(give_back: Callable[[], object]) -> None:
    """Call it again and again, on a connection of its own, until Postgres has taken it. It has to
    be fenced: meanwhile the job may be rescued.
    """
    task = contextvars.copy_context()  # the log of the thread is about the same job
    threading.Thread(target=task.run, args=(_insist, give_back), daemon=True).start()


def _insist(give_back: Callable[[], object]) -> None:
    while True:
        time.sleep(ledger_settings.OWED_PAUSE_S)
        try:
            give_back()
            return
        except Error as exc:
            if not in_trouble(exc):
                raise
        finally:
            connection.close()
