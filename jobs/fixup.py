"""Celery's Django fixup, with database connections that outlive a task.

Celery closes every connection around each task: 401 Postgres sessions for 400 tasks. Django's own rule (close what is
broken or older than CONN_MAX_AGE) is enough.
"""

import os
from typing import Any

from celery import Celery
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup
from django.db import close_old_connections


class KeepingWorkerFixup(DjangoWorkerFixup):  # type: ignore[misc]
    def validate_models(self) -> None:
        """Set Django up. The system checks belong to the release: here they would need a Postgres that answers."""
        self.django_setup()

    def close_database(self, **kwargs: Any) -> None:
        close_old_connections()

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
