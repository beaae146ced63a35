"""Every lock and every change of a job's row. `models.jobs.job` draws the life of a job.

`interventions`, `lost`, `unheard` and `limits.concurrency` hold the parts that a person, the
rescuer, the ringer and the limits need.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Greatest, Now

from celery_ledger import context
from celery_ledger.conf import ledger_settings
from celery_ledger.models.encoding import CeleryEncoder
from celery_ledger.models.jobs.claim import (
    CLAIM,
    CLAIM_A_PLACE,
    CLAIM_A_SLOT,
    SETTLE,
    SETTLE_IN_PLACE,
    Claim,
    Settled,
    of_jobs,
)
from celery_ledger.models.jobs.columns import ended, noted, waiting
from celery_ledger.models.jobs.history import End
from celery_ledger.models.jobs.interventions import InterventionsQuerySet
from celery_ledger.models.jobs.lost import LostQuerySet
from celery_ledger.models.jobs.promise import statement_of
from celery_ledger.models.jobs.states import FINISHED, RUNS, State
from celery_ledger.models.jobs.unheard import UnheardQuerySet
from celery_ledger.models.limits.concurrency import PlacesQuerySet
from celery_ledger.models.limits.rate_limit import TAKE, Rate

if TYPE_CHECKING:
    from celery_ledger.models.jobs.job import Job


class JobQuerySet(  # type: ignore[override]
    InterventionsQuerySet, LostQuerySet, PlacesQuerySet, UnheardQuerySet
):
    """How jobs are promised, claimed, settled, put back and pruned."""

    def promise(self, jobs: Sequence["Job"], *, once: bool) -> None:
        """Write the rows of these jobs in their order, PROMISE_BATCH by one statement, in the
        caller's transaction. `once`: jobs whose ids are taken are left out; otherwise such a job
        raises IntegrityError.
        """
        table = self.model._meta.db_table
        with connection.cursor() as cursor:
            for batch in batched(jobs, ledger_settings.PROMISE_BATCH):
                cursor.execute(*statement_of(batch, table=table, once=once))

    def claim(  # noqa: PLR0913 - one for each thing that a claim writes
        self,
        ids: Sequence[UUID],
        *,
        task: str,
        token: UUID,
        worker: UUID | None,
        pid: int,
        lease: timedelta,
        timelimit: Sequence[float | None] | None = None,
        first: bool = False,
        places: int | None = None,
        slots: dict[str, Any] | None = None,
    ) -> list[Claim]:
        """Claim those of these jobs of one task that wait and are due, for one attempt each.

        `timelimit`: only jobs that name this hard and soft limit. `first`: only jobs without an
        attempt. `places` (of one id): only if fewer jobs of its key run; raises IntegrityError when
        another process takes the same place. `slots` (of one id): only if its slot is now.

        It is called outside any transaction, so that an attempt that kills its worker is counted.
        """
        values: dict[str, Any] = {
            "ids": list(ids),
            "task": task,
            "token": token,
            "worker": worker,
            "pid": pid,
            "lease": lease,
            "timelimit": timelimit and json.dumps(timelimit),
            "first": first,
            "places": places,
            **(slots or {}),
        }
        statement = of_jobs(_claiming(places, slots), self.model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows = cursor.fetchall()
        return [Claim.of(token, *row) for row in rows]

    def held(self, claim: Claim) -> "JobQuerySet":
        """The job of this claim, if the claim still holds it; every verdict is written to this."""
        return self.filter(pk=claim.id, token=claim.token, **RUNS)

    def take_slot(
        self, id_: UUID, *, task: str, pause_s: float, keyed: bool = False
    ) -> bool | None:
        """Take the next slot for this job of a task with a rate limit. True if the slot is now, the
        job has one already, or is not due or not waiting, as a claim will find. False if the slot
        is later: the job is due then.

        Slots are `pause_s` seconds apart. `keyed`: they are those of the row's key; None is
        returned if the row has no key.
        """
        tables = {"jobs": self.model._meta.db_table, "rates": Rate._meta.db_table}
        values: dict[str, Any] = {"id": id_, "task": task, "pause_s": pause_s, "keyed": keyed}
        with connection.cursor() as cursor:
            cursor.execute(TAKE.format(**tables), values)
            is_later, has_no_key, _ = cursor.fetchone()
        return None if has_no_key else not is_later

    def settle(self, settled: Sequence[Settled]) -> bool:
        """Let these jobs be done. Returns False when one of the claims was lost meanwhile; then the
        caller must roll back.
        """
        with connection.cursor() as cursor:
            cursor.execute(SETTLE.format(jobs=self.model._meta.db_table), _values_of(settled))
            return bool(cursor.rowcount == len(settled))

    def settle_in_place(self, settled: Settled) -> bool | None:
        """Let one job that has a place be done; return whether somebody may wait for the place, or
        None when the claim was lost meanwhile. Then the caller must roll back.
        """
        with connection.cursor() as cursor:
            statement = SETTLE_IN_PLACE.format(jobs=self.model._meta.db_table)
            cursor.execute(statement, _values_of([settled]))
            row = cursor.fetchone()
        return row and bool(row[0])

    def put_back(
        self,
        claim: Claim,
        *,
        due_at: datetime,
        error: dict[str, Any],
        retried: bool,
        **changes: Any,
    ) -> bool:
        """Let the job wait again, due at that time. False when the claim was lost meanwhile.

        `retried`: it counts as a retry of the task. `changes`: further columns.
        """
        why = noted(End.RETRY if retried else End.TROUBLE, error)
        retries = F("retries") + int(retried)
        return bool(self.held(claim).update(**waiting(due_at), **why, retries=retries, **changes))

    @transaction.atomic
    def give_back(self, claims: Sequence[Claim], *, were_begun: bool) -> None:
        """Let the jobs of these claims wait again, due as before. Claims of jobs that were begun
        count as attempts.
        """
        ids = [claim.id for claim in claims]
        held = self.filter(pk__in=ids, token__in={claim.token for claim in claims}, **RUNS)
        locked = held.select_for_update(skip_locked=True, no_key=True).order_by("pk")
        attempts = F("attempts") - int(not were_begun)
        self.filter(pk__in=[*locked.values_list("pk", flat=True)]).update(
            state=State.WAITING,
            lease_until=None,
            attempts=attempts,
            ring_at=Greatest("ring_at", Now()),
        )

    def kill(self, claim: Claim, *, error: dict[str, Any]) -> bool:
        """Let the job be dead by this error. False when the claim was lost meanwhile."""
        return bool(self.held(claim).update(**ended(State.DEAD), **noted(End.DEAD, error)))

    def call_off(self, claim: Claim, *, error: dict[str, Any]) -> bool:
        """Let the job be cancelled. False when the claim was lost meanwhile."""
        return bool(
            self.held(claim).update(**ended(State.CANCELLED), **noted(End.CANCELLED, error))
        )

    def delete_for_replacement(self, claim: Claim) -> bool:
        """Delete the row, so that a replacement can have its id. False when the claim was lost
        meanwhile.
        """
        return bool(self.held(claim).delete()[0])

    def record_unreachable(self, id_: UUID, *, task: str, error: dict[str, Any]) -> None:
        """Write a dead row for a job that will never be promised, so that its result can be asked
        for. A row that is there already stays.
        """
        never = self.model(
            id=id_,
            task=task,
            queue="",
            unreachable=True,
            owner=context.owner(),
            args=[[], {}],
            envelope={},
            due_at=Now(),
            ring_at=Now(),
            context=context.inherited(),
            **ended(State.DEAD),
            error=error,
        )
        self.bulk_create([never], ignore_conflicts=True)

    def without_threaded(self, tasks: Sequence[str]) -> "JobQuerySet":
        """The jobs but for those that `due.of_each_owner` finds, of these tasks."""
        return self.exclude(task__in=tasks, shared_losses__lt=ledger_settings.SHARED_LOSSES)

    def prune(self, *, before: datetime, limit: int) -> int:
        """Delete up to `limit` jobs that ended before then; return how many."""
        old = self.filter(state__in=FINISHED, finished_at__lt=before)
        ids = list(old.order_by("finished_at").values_list("pk", flat=True)[:limit])
        # with the conditions once more: somebody may have retried one meanwhile
        return old.filter(pk__in=ids).delete()[0]


def _claiming(places: int | None, slots: dict[str, Any] | None) -> str:
    if places:
        return CLAIM_A_PLACE
    return CLAIM_A_SLOT if slots else CLAIM


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, cls=CeleryEncoder)


def _values_of(settled: Sequence[Settled]) -> dict[str, Any]:
    """The parameters of SETTLE."""
    return {
        "ids": [job.claim.id for job in settled],
        "tokens": [job.claim.token for job in settled],
        "results": [_text(job.result) for job in settled],
        "effects": [_text(job.effects or None) for job in settled],
    }
