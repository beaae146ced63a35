"""The queues, tasks and schedules that a person has paused. None of their jobs is claimed until
somebody resumes them; jobs that run go on.
"""

from typing import TYPE_CHECKING

from django.db import models
from django.db.models.functions import Now

if TYPE_CHECKING:
    from celery_ledger.models.jobs.job import Job

# Conditions for statements that claim jobs or look for due ones. `of_jobs` fills in the table.
QUEUE_RUNS = "queue <> ALL(ARRAY(SELECT name FROM {pauses} WHERE kind = 'queue'))"
TASK_RUNS = "task <> ALL(ARRAY(SELECT name FROM {pauses} WHERE kind = 'task'))"


class Kind(models.TextChoices):
    QUEUE = "queue"
    TASK = "task"
    SCHEDULE = "schedule"  # an entry of `beat_schedule`


class PauseQuerySet(models.QuerySet["Pause"]):
    def of(self, job: "Job") -> "PauseQuerySet":
        """The pauses that keep this job from being claimed."""
        of_task = models.Q(kind=Kind.TASK, name=job.task)
        return self.filter(of_task | models.Q(kind=Kind.QUEUE, name=job.queue))

    def names(self, kind: Kind) -> set[str]:
        """The names of everything of this kind that is paused."""
        return set(self.filter(kind=kind).values_list("name", flat=True))


class Pause(models.Model):
    kind = models.TextField(choices=Kind)
    name = models.TextField()
    by = models.TextField()
    note = models.TextField(default="")
    at = models.DateTimeField(db_default=Now())

    objects = PauseQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(name="pause_once", fields=["kind", "name"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
