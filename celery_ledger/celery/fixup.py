"""Celery's Django fixup, with database connections that outlive a task.

Celery closes every connection around each task: 401 Postgres sessions for 400 tasks. Django's own
rule (close what is broken or older than CONN_MAX_AGE) is enough.
"""

import contextlib
import os
from typing import Any

from celery import Celery, signals
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup
from django.db import DatabaseError, InterfaceError, close_old_connections, connections


class KeepingWorkerFixup(DjangoWorkerFixup):  # type: ignore[misc]
    def validate_models(self) -> None:
        """Set Django up. The system checks belong to the release: here they would need a Postgres
        that answers.
        """
        self.django_setup()

    def on_task_prerun(self, sender: Any, **kwargs: Any) -> None:
        """The claim came before, on a connection that was looked at for it."""

    def close_database(self, **kwargs: Any) -> None:
        """Around each task. A time limit may strike inside Django's Atomic itself and leave a
        connection that believes in a transaction for ever; such a connection is thrown away.
        """
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:
                with contextlib.suppress(DatabaseError, InterfaceError):
                    connection.close()
                del connections[connection.alias]
        close_old_connections()
        for connection in connections.all(initialized_only=True):
            # the next claim finds out by itself, and makes it anew
            connection.health_check_done = True  # type: ignore[attr-defined]

    def uninstall(self) -> None:
        """A process that was a worker for a while, as in tests, goes on without it: whoever works
        off jobs in a transaction of his own keeps that.
        """
        signals.task_prerun.disconnect(self.on_task_prerun)
        signals.task_postrun.disconnect(self.on_task_postrun)

    def close_cache(self) -> None:
        """The local-memory cache has nothing to close."""


class KeepingFixup(DjangoFixup):  # type: ignore[misc]
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
    """Install it where Celery would install its own."""
    return KeepingFixup(app).install() if os.environ.get(env) else None
