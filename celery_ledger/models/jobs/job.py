"""The ledger's main table: one row for each job. `models.jobs.queryset` holds every change of it.

The life of a job::

    waiting ──claim──► running ──settle──► done
       ▲                  │
       ├──── retry ───────┤
       ├──── lost ────────┤ (after MAX_LOSSES: dead)
       │                  └──── verdict ──► dead
       └──► cancelled
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from celery_ledger.conf import ledger_settings
from celery_ledger.models.encoding import WrittenJSONField
from celery_ledger.models.jobs.columns import BEGINNING
from celery_ledger.models.jobs.queryset import JobQuerySet
from celery_ledger.models.jobs.states import FINISHED, RETRYABLE, State


class Job(models.Model):
    """A promised piece of work: one call of a task."""

    id = models.UUIDField(primary_key=True)  # in Celery too, unless that is no UUID (`models.ids`)
    task = models.TextField()
    queue = models.TextField()
    args = WrittenJSONField()  # [positional, named]
    # the canvas and the headers of Celery's message (`publishing.amqp`)
    envelope = WrittenJSONField()
    # whose turn it is when it begins (setting OWNER); "" for nobody's
    owner = models.TextField(default="", db_default="")
    context = models.JSONField(default=dict)  # celery_ledger.context of the caller
    root_id = models.UUIDField(null=True)
    parent_id = models.UUIDField(null=True)

    state = models.TextField(choices=State, default=State.WAITING)
    # dead without ever having been promised, since a job before it in its chain or chord died
    unreachable = models.BooleanField(default=False, db_default=False)
    priority = models.SmallIntegerField(default=0, db_default=0)  # higher begins before lower
    due_at = models.DateTimeField()
    # the slot of its rate limit that it has taken and waits for
    slot_at = models.DateTimeField(null=True)
    ring_at = models.DateTimeField()  # when the clock rings, unless the job is claimed before
    rings = models.IntegerField(default=0)  # by the clock, since the job became due
    # the keys of its task's limits
    concurrency_key = models.TextField(null=True)
    rate_key = models.TextField(null=True)
    place = models.SmallIntegerField(null=True)  # that it has, or had when it ran last
    is_wanted = models.BooleanField(null=True)  # others may stand in line for its place
    in_line_since = models.DateTimeField(null=True)  # since when it stands in line for a place
    attempts = models.IntegerField(default=0)  # claims
    # attempts that ended in `Retry`: Celery's request.retries
    retries = models.IntegerField(default=0)
    # attempts that were lost with their process, alone in it
    losses = models.IntegerField(default=0)
    # attempts that were lost with a process that other jobs shared: which one was to blame is not
    # known
    shared_losses = models.IntegerField(default=0, db_default=0)

    # the newest claim; the job runs while `lease_until` is set
    token = models.UUIDField(null=True)
    worker = models.UUIDField(null=True)
    pid = models.IntegerField(null=True)
    started_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)

    result = WrittenJSONField(null=True)
    effects = models.JSONField(null=True)  # ["event 0198…", …]: `note_effect`
    error = models.JSONField(null=True)  # the newest: `models.error.describe`
    history = models.JSONField(default=list, db_default=[])  # celery_ledger.models.jobs.history
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    in_company: bool  # whether others run in its process: `take_for_rescue` annotates it

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="job_state", condition=Q(state__in=State.values)),
            models.CheckConstraint(
                name="job_running_has_lease",
                condition=Q(state=State.RUNNING, token__isnull=False, lease_until__isnull=False)
                | ~Q(state=State.RUNNING) & Q(lease_until__isnull=True),
            ),
            models.CheckConstraint(
                name="job_finished_has_time",
                condition=Q(state__in=FINISHED, finished_at__isnull=False)
                | ~Q(state__in=FINISHED) & Q(finished_at__isnull=True),
            ),
            models.UniqueConstraint(
                name="job_place",
                fields=["concurrency_key", "place"],
                condition=Q(state=State.RUNNING, concurrency_key__isnull=False),
            ),
        ]
        indexes = [
            models.Index(
                name="job_ring",  # of use only to queries with a bound of `ring_at` (ADR 11)
                fields=["queue", "ring_at"],
                condition=Q(state=State.WAITING, ring_at__gte=BEGINNING),
            ),
            models.Index(
                name="job_due_of_owner",
                fields=["queue", "owner", "due_at"],
                condition=Q(state=State.WAITING),
            ),
            models.Index(
                name="job_priority",
                fields=["queue", "-priority", "due_at"],
                condition=Q(state=State.WAITING) & ~Q(priority=0),
            ),
            models.Index(
                name="job_running", fields=["lease_until"], condition=Q(state=State.RUNNING)
            ),
            models.Index(
                name="job_lost",
                fields=["started_at"],
                condition=Q(losses__gt=0) | Q(shared_losses__gt=0),
            ),
            models.Index(
                name="job_in_line",
                fields=["concurrency_key", "created_at"],
                condition=Q(in_line_since__isnull=False),
            ),
            models.Index(name="job_created", fields=["created_at", "id"]),
            models.Index(
                name="job_parent", fields=["parent_id"], condition=Q(parent_id__isnull=False)
            ),
            models.Index(
                name="job_of_owner",
                fields=["owner", "created_at", "id"],
                condition=Q(state__in=FINISHED),
            ),
            models.Index(
                name="job_finished", fields=["finished_at"], condition=Q(state__in=FINISHED)
            ),
            models.Index(
                name="job_retryable",
                fields=["state", "created_at", "id"],
                condition=Q(state__in=RETRYABLE),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.pk}"

    @property
    def is_to_blame(self) -> bool:
        """Whether the loss of its process counts against this job: it was alone there, or has been
        lost beside others so often that it should have been.
        """
        return not self.in_company or self.shared_losses >= ledger_settings.SHARED_LOSSES
