"""What an owner may see of the ledger: its own jobs, and that there are jobs of nobody's."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.fields.json import KT
from django.db.models.lookups import In

from celery_ledger.models import FINISHED, RETRYABLE, Job, JobQuerySet, State

NOBODY = ""  # the owner of jobs that are nobody's
NEWEST_FIRST = ("-created_at", "-id")


def visible_to(owner: str) -> JobQuerySet:
    """The jobs of this owner, and those of nobody."""
    return Job.objects.filter(owner__in=(owner, NOBODY))


def is_nobodys(job: Job) -> bool:
    """Whether the job is nobody's. Its result may concern anybody, so no owner may see it."""
    return job.owner == NOBODY


def newest(owner: str, narrowed: Q, *, state: State | None, limit: int) -> "QuerySet[Job]":
    """The newest `limit` jobs that the owner may see, of those that `narrowed` matches, in this
    state or in any (None).

    They are found in pieces, each by an index, so that an owner of few jobs costs little.
    """
    if state in RETRYABLE:  # few, with an index of their own
        jobs = visible_to(owner).filter(narrowed, state=state)
        return jobs.defer("args").order_by(*NEWEST_FIRST)[:limit]
    pieces = [piece.filter(narrowed).defer("args")[:limit] for piece in _pieces(owner, state)]
    first, *others = pieces
    return first.union(*others, all=True).order_by(*NEWEST_FIRST)[:limit] if others else first


def called_with(first: Iterable[str]) -> Q:
    """A condition: the first argument of a job is one of these texts. No index holds it, so the
    query should be narrowed by others too.
    """
    return Q(In(KT("args__0__0"), list(first)))


def _pieces(owner: str, state: State | None) -> Iterator[JobQuerySet]:
    """The jobs that the owner may see in this state or in any, in pieces that an index holds."""
    for unfinished in (State.WAITING, State.RUNNING):
        if state in (None, unfinished):
            yield visible_to(owner).filter(state=unfinished).order_by(*NEWEST_FIRST)
    if state in (None, *FINISHED):
        in_state: dict[str, Any] = {"state": state} if state else {}
        for whose in (owner, NOBODY):
            ended = Job.objects.filter(owner=whose, state__in=FINISHED, **in_state)
            yield ended.order_by(*NEWEST_FIRST)
