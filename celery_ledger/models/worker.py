"""The workers: one row each, which its worker updates once a second (a beat)."""

from datetime import timedelta
from uuid import UUID

from django.db import models
from django.db.models.functions import Now

from celery_ledger.conf import ledger_settings


class WorkerQuerySet(models.QuerySet["Worker"]):
    def beat(
        self, id_: UUID, *, name: str, pid: int, queues: list[str] | None = None, quiet_s: float = 0
    ) -> None:
        """Note that this worker lives, serves these queues, and has begun nothing for `quiet_s`
        seconds though a process was idle. It locks no row but the worker's own.
        """
        since = Now() - timedelta(seconds=quiet_s)
        row = Worker(pk=id_, name=name, pid=pid, seen_at=Now(), queues=queues, quiet_since=since)
        self.bulk_create(
            [row],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["seen_at", "queues", "quiet_since"],
        )

    def living(self) -> "WorkerQuerySet":
        """The workers that have beaten within WORKER_SILENCE_S."""
        return self.filter(seen_at__gt=Now() - timedelta(seconds=ledger_settings.WORKER_SILENCE_S))

    def quiet(self) -> "WorkerQuerySet":
        """The living workers that had an idle process for DEAF_S and began no job in that time."""
        patience = timedelta(seconds=ledger_settings.DEAF_S)
        return self.living().filter(quiet_since__lte=Now() - patience, queues__isnull=False)


class Worker(models.Model):
    """A worker process tree since its start; a restart is a new worker.

    `seen_at` has no index, so that a beat updates none; there are few rows to look through.
    """

    id = models.UUIDField(primary_key=True)
    name = models.TextField()
    pid = models.IntegerField()
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField()
    queues = models.JSONField(null=True)  # the names of those that it serves
    quiet_since = models.DateTimeField(null=True)  # since when it has begun nothing, though idle

    objects = WorkerQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
