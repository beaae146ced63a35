"""The ledger: one row per promised piece of work. What guards it is in `models.jobs.queryset`.

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
    """A row of promised work. Its id is the Celery task id; the broker carries nothing but that."""

    id = models.UUIDField(primary_key=True)
    task = models.TextField()
    queue = models.TextField()
    args = WrittenJSONField()  # [positional, named]
    # Celery's canvas and per-call limits
    envelope = WrittenJSONField()
    owner = models.TextField(
        default="", db_default=""
    )  # whom it serves; "" for nobody in particular
    context = models.JSONField(default=dict)  # celery_ledger.context of the caller
    root_id = models.UUIDField(null=True)
    parent_id = models.UUIDField(null=True)

    state = models.TextField(choices=State, default=State.WAITING)
    # dead without having been promised: a job before it in its chain or chord died
    unreachable = models.BooleanField(default=False, db_default=False)
    priority = models.SmallIntegerField(default=0, db_default=0)  # higher begins before lower
    due_at = models.DateTimeField()
    # the slot that a rate-limited job has taken and waits for
    slot_at = models.DateTimeField(null=True)
    ring_at = models.DateTimeField()  # when the clock rings, unless the job is claimed before
    rings = models.IntegerField(default=0)  # bells rung by the clock since the job became due
    # of its task's limits
    concurrency_key = models.TextField(null=True)
    rate_key = models.TextField(null=True)
    # the place that it has or had last; whether others wait for it; since when it waits for one
    place = models.SmallIntegerField(null=True)
    is_wanted = models.BooleanField(null=True)
    in_line_since = models.DateTimeField(null=True)
    attempts = models.IntegerField(default=0)  # claims
    # attempts that ended in "try again": Celery's request.retries
    retries = models.IntegerField(default=0)
    # attempts that ended without a verdict: alone in their process, and beside others, when nobody
    # knows which of them it was that took it down
    losses = models.IntegerField(default=0)
    shared_losses = models.IntegerField(default=0, db_default=0)

    token = models.UUIDField(null=True)  # of the newest claim
    worker = models.UUIDField(null=True)
    pid = models.IntegerField(null=True)
    started_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)

    result = WrittenJSONField(null=True)
    effects = models.JSONField(null=True)  # what it did, as ["event 0198…", …]: note_effect
    error = models.JSONField(null=True)  # {"type", "message"} of the newest failure
    history = models.JSONField(default=list, db_default=[])  # celery_ledger.models.jobs.history
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    in_company: bool  # whether it shared its process: told by `take_for_rescue`

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
                name="job_ring",  # whoever does not ask by `ring_at` cannot go by it (ADR 11)
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
        """For a process that was lost with it: alone there, or as alone as it can be made."""
        return not self.in_company or self.shared_losses >= ledger_settings.SHARED_LOSSES
