"""What a client sees of the ledger: the jobs that serve it, and that the house's own are there."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from celery_ledger.models import CLIENT, FINISHED, REVIVABLE, Job, JobQuerySet, State

HOUSE = ""  # whose jobs serve no client
NEWEST_FIRST = ("-created_at", "-id")


def visible_to(client: UUID) -> JobQuerySet:
    return Job.objects.filter(Q(context__client=str(client)) | ~Q(context__has_key="client"))


def is_houses_own(job: Job) -> bool:
    """What such a job came to may concern anybody."""
    return not job.context.get("client")


def newest(client: UUID, narrowed: Q, *, state: State | None, limit: int) -> "QuerySet[Job]":
    """The newest `limit` of them, found in pieces that an index holds each: a client with few jobs pays for few."""
    if state in REVIVABLE:  # few, and in the index of their own
        return (
            visible_to(client)
            .filter(narrowed, state=state)
            .defer("args")
            .order_by(*NEWEST_FIRST)[:limit]
        )
    first, *others = [
        piece.filter(narrowed).defer("args")[:limit] for piece in _pieces(client, state)
    ]
    return first.union(*others, all=True).order_by(*NEWEST_FIRST)[:limit] if others else first


def _pieces(client: UUID, state: State | None) -> Iterator[JobQuerySet]:
    for one in (State.WAITING, State.RUNNING):
        if state in (None, one):
            yield visible_to(client).filter(state=one).order_by(*NEWEST_FIRST)
    if state in (None, *FINISHED):
        done: dict[str, Any] = {"state": state} if state else {}
        for owner in (str(client), HOUSE):
            ended = Job.objects.alias(owner=CLIENT).filter(owner=owner, state__in=FINISHED, **done)
            yield ended.order_by(*NEWEST_FIRST)
