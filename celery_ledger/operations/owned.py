"""What an owner sees of the ledger: its own jobs, and that those are there which nobody owns."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.fields.json import KT
from django.db.models.lookups import In

from celery_ledger.models import FINISHED, RETRYABLE, Job, JobQuerySet, State

NOBODY = ""
NEWEST_FIRST = ("-created_at", "-id")


def visible_to(owner: str) -> JobQuerySet:
    return Job.objects.filter(owner__in=(owner, NOBODY))


def is_nobodys(job: Job) -> bool:
    """What such a job came to may concern anybody, and is shown to no owner."""
    return job.owner == NOBODY


def newest(owner: str, narrowed: Q, *, state: State | None, limit: int) -> "QuerySet[Job]":
    """The newest `limit` of them, found in pieces that an index holds each.

    So an owner of few jobs pays for few.
    """
    if state in RETRYABLE:  # few, and in the index of their own
        found = visible_to(owner).filter(narrowed, state=state)
        return found.defer("args").order_by(*NEWEST_FIRST)[:limit]
    pieces = [piece.filter(narrowed).defer("args")[:limit] for piece in _pieces(owner, state)]
    first, *others = pieces
    return first.union(*others, all=True).order_by(*NEWEST_FIRST)[:limit] if others else first


def called_with(first: Iterable[str]) -> Q:
    """Jobs whose first argument is one of these texts, of those that are narrowed otherwise."""
    return Q(In(KT("args__0__0"), list(first)))


def _pieces(owner: str, state: State | None) -> Iterator[JobQuerySet]:
    for one in (State.WAITING, State.RUNNING):
        if state in (None, one):
            yield visible_to(owner).filter(state=one).order_by(*NEWEST_FIRST)
    if state in (None, *FINISHED):
        done: dict[str, Any] = {"state": state} if state else {}
        for whose in (owner, NOBODY):
            ended = Job.objects.filter(owner=whose, state__in=FINISHED, **done)
            yield ended.order_by(*NEWEST_FIRST)
