"""Celery's Django fixup, changed so that database connections outlive a task.

Celery closes every connection around each task, which made 401 Postgres sessions for 400 tasks.
Here Django's own rule holds: a connection is closed when it is broken or older than CONN_MAX_AGE.
"""

import contextlib
import os
from typing import Any

from celery import Celery, signals
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup
from django.db import DatabaseError, InterfaceError, close_old_connections, connections


class KeepingWorkerFixup(DjangoWorkerFixup):  # type: ignore[misc]
    """The part of the fixup that runs in a worker."""

    def validate_models(self) -> None:
        """Set Django up, without its system checks: they belong to the release, and some of them
        need a Postgres that answers.
        """
        self.django_setup()

    def on_task_prerun(self, sender: Any, **kwargs: Any) -> None:
        """Nothing: the claim came before, and has checked the connection."""

    def close_database(self, **kwargs: Any) -> None:
        """Close old connections, and drop any that still believes to be in a transaction. Celery
        calls it after each task.

        A time limit may be raised inside Django's `Atomic` itself and leave its connection so.
        """
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:
                with contextlib.suppress(DatabaseError, InterfaceError):
                    connection.close()
                del connections[connection.alias]
        close_old_connections()
        for connection in connections.all(initialized_only=True):
            # the next claim finds a broken connection by itself, and makes a new one
            connection.health_check_done = True  # type: ignore[attr-defined]

    def uninstall(self) -> None:
        """Disconnect from Celery's signals, in a process that was a worker for a while (in tests).

        Otherwise `close_database` would close the transaction of whoever works off jobs in it
        afterwards.
        """
        signals.task_prerun.disconnect(self.on_task_prerun)
        signals.task_postrun.disconnect(self.on_task_postrun)

    def close_cache(self) -> None:
        """Nothing: caches stay open from task to task."""


class KeepingFixup(DjangoFixup):  # type: ignore[misc]
    """Django's fixup whose worker part is `KeepingWorkerFixup`."""

    _worker_fixup: DjangoWorkerFixup | None

    @property
    def worker_fixup(self) -> DjangoWorkerFixup:
        if self._worker_fixup is None:
            self._worker_fixup = KeepingWorkerFixup(self.app)
        return self._worker_fixup

    @worker_fixup.setter
    def worker_fixup(self, value: DjangoWorkerFixup) -> None:
        self._worker_fixup = value


def fixup(app: Celery, env: str = "DJANGO_SETTINGS_MODULE") -> DjangoFixup | None:
    """Celery's factory of the fixup: installed if the app has Django settings, else None."""
    return KeepingFixup(app).install() if os.environ.get(env) else None
