"""One verb for all jobs of a filter. Its row says how far it has come; a job does a portion of it
in the transaction that moves the row on, so that a kill loses nothing and no job is met twice.
"""

from uuid import UUID

from django.db import models
from django.db.models.functions import Now


class JobBatchQuerySet(models.QuerySet["JobBatch"]):
    def locked(self, id_: UUID) -> "JobBatch":
        return self.select_for_update(no_key=True).get(pk=id_)


class JobBatch(models.Model):
    id = models.UUIDField(primary_key=True)  # of the page that asked: who presses twice asks once
    at = models.DateTimeField(db_default=Now())
    who = models.TextField()
    verb = models.TextField()  # of ops.jobs.verbs.VERBS
    chosen = models.JSONField()  # ops.jobs.choosing.Chosen
    until = models.DateTimeField()  # what was promised later is left alone
    counted = models.IntegerField()  # when it was asked for, among the first OPS_COUNTED_MAX
    more = models.BooleanField(default=False)  # were not counted
    looked = models.IntegerField(default=0)  # jobs that it has met
    done = models.IntegerField(default=0)  # jobs that it has changed
    place = models.JSONField(null=True)  # how far it has come: ops.jobs.choosing.Place
    job = models.UUIDField(null=True)  # that does the next portion
    ended_at = models.DateTimeField(null=True)
    stopped_by = models.TextField(default="")

    objects = JobBatchQuerySet.as_manager()

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(name="job_batch_at", fields=["-at"])]

    def __str__(self) -> str:
        return f"{self.verb} {self.pk}"
