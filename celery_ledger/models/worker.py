"""The workers that live, by their own word: a row each, beaten once a second."""

from datetime import timedelta
from uuid import UUID

from django.db import models
from django.db.models.functions import Now

from celery_ledger.conf import ledger_settings


class WorkerQuerySet(models.QuerySet["Worker"]):
    def beat(self, id_: UUID, *, name: str, pid: int) -> None:
        """This worker lives. Takes its own row lock only."""
        self.bulk_create(
            [Worker(pk=id_, name=name, pid=pid, seen_at=Now())],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["seen_at"],
        )

    def living(self) -> "WorkerQuerySet":
        return self.filter(seen_at__gt=Now() - timedelta(seconds=ledger_settings.WORKER_SILENCE_S))


class Worker(models.Model):
    """A worker process tree since its start; a restart is a new worker.

    `seen_at` has no index, so that a beat writes into none: there are few workers to look through.
    """

    id = models.UUIDField(primary_key=True)
    name = models.TextField()
    pid = models.IntegerField()
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField()

    objects = WorkerQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
