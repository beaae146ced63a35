"""The workers that live, by their own word: a row each, beaten once a second."""

from datetime import timedelta
from uuid import UUID

from django.db import models
from django.db.models.functions import Now

from celery_ledger.conf import ledger_settings


class WorkerQuerySet(models.QuerySet["Worker"]):
    def beat(
        self, id_: UUID, *, name: str, pid: int, queues: list[str] | None = None, quiet_s: float = 0
    ) -> None:
        """This worker lives, serves these queues, and has been idle and begun nothing for so long.
        Takes its own row lock only.
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
        return self.filter(seen_at__gt=Now() - timedelta(seconds=ledger_settings.WORKER_SILENCE_S))

    def quiet(self) -> "WorkerQuerySet":
        """Those that live, have had an idle process for DEAF_S and have begun nothing since."""
        patience = timedelta(seconds=ledger_settings.DEAF_S)
        return self.living().filter(quiet_since__lte=Now() - patience, queues__isnull=False)


class Worker(models.Model):
    """A worker process tree since its start; a restart is a new worker.

    `seen_at` has no index, so that a beat writes into none: there are few workers to look through.
    """

    id = models.UUIDField(primary_key=True)
    name = models.TextField()
    pid = models.IntegerField()
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField()
    queues = models.JSONField(null=True)  # that it serves, as it says
    quiet_since = models.DateTimeField(null=True)

    objects = WorkerQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
