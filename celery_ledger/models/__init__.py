"""The tables of the ledger, and every lock on their rows; one noun a file."""

from celery_ledger.models.chord import Chord, ChordPart
from celery_ledger.models.group import Group
from celery_ledger.models.jobs.claim import Claim, Settled
from celery_ledger.models.jobs.job import Job
from celery_ledger.models.jobs.queryset import JobQuerySet
from celery_ledger.models.jobs.states import FINISHED, RETRYABLE, RUNS, WAITS, State
from celery_ledger.models.limits.rate_limit import Rate
from celery_ledger.models.pause import Kind as PauseKind
from celery_ledger.models.pause import Pause
from celery_ledger.models.schedule import Schedule
from celery_ledger.models.worker import Worker

__all__ = [
    "FINISHED",
    "RETRYABLE",
    "RUNS",
    "WAITS",
    "Chord",
    "ChordPart",
    "Claim",
    "Group",
    "Job",
    "JobQuerySet",
    "Pause",
    "PauseKind",
    "Rate",
    "Schedule",
    "Settled",
    "State",
    "Worker",
]
