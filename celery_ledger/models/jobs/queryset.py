"""Every lock and every change of a job; `models.jobs.job` draws the life of one.

What a person, the rescue and the ringing do stands beside it: `asked`, `lost`, `unheard`.
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
from celery_ledger.models.jobs.asked import AskedQuerySet
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
from celery_ledger.models.jobs.lost import LostQuerySet
from celery_ledger.models.jobs.promise import statement_of
from celery_ledger.models.jobs.states import FINISHED, RUNS, State
from celery_ledger.models.jobs.unheard import UnheardQuerySet
from celery_ledger.models.limits.concurrency import PlacesQuerySet
from celery_ledger.models.limits.rate_limit import TAKE, Rate

if TYPE_CHECKING:
    from celery_ledger.models.jobs.job import Job


class JobQuerySet(  # type: ignore[override]
    AskedQuerySet, LostQuerySet, PlacesQuerySet, UnheardQuerySet
):
    def promise(self, jobs: Sequence["Job"], *, once: bool) -> None:
        """Write the rows of these, which wait from now on, in their order; `once`: not of those
        that are there already. In the caller's transaction: PROMISE_BATCH rows are one statement.
        """
        table = self.model._meta.db_table
        with connection.cursor() as cursor:
            for some in batched(jobs, ledger_settings.PROMISE_BATCH):
                cursor.execute(*statement_of(some, table=table, once=once))

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
        """Take the waiting and due ones of these jobs of one task for one attempt; the others
        belong to somebody else. `first`: those that have had none. `places`: of one job, if fewer
        of its key run; raises IntegrityError when somebody takes the same place. `slots`, as TAKE
        wants them: of one job, if its slot is now.

        Commits by itself, before any transaction, so that an attempt that kills its worker is
        counted. The commit is asynchronous: a claim that a Postgres crash forgets only lets the job
        run again, under another token.
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
        statement = CLAIM_A_PLACE if places else CLAIM_A_SLOT if slots else CLAIM
        with connection.cursor() as cursor:
            cursor.execute(of_jobs(statement, self.model._meta.db_table), values)
            rows = cursor.fetchall()
        return [Claim.of(token, *row) for row in rows]

    def held(self, claim: Claim) -> "JobQuerySet":
        """The job, if this claim still holds it: the fence in front of every verdict."""
        return self.filter(pk=claim.id, token=claim.token, **RUNS)

    def take_slot(
        self, id_: UUID, *, task: str, pause_s: float, keyed: bool = False
    ) -> bool | None:
        """Whether this job of a rate-limited task may begin now; if not, it is due in the slot that
        it has taken, so many seconds after the one before. `keyed`: the slot is one of its key;
        None when its row has none.

        True also when its slot has come, or when the claim will see that it is not ours.
        """
        tables = {"jobs": self.model._meta.db_table, "rates": Rate._meta.db_table}
        values: dict[str, Any] = {"id": id_, "task": task, "pause_s": pause_s, "keyed": keyed}
        with connection.cursor() as cursor:
            cursor.execute(TAKE.format(**tables), values)
            is_later, has_no_key, _ = cursor.fetchone()
        return None if has_no_key else not is_later

    def settle(self, settled: Sequence[Settled]) -> bool:
        """Done. False when one of their claims was lost meanwhile: the caller must roll back."""
        with connection.cursor() as cursor:
            cursor.execute(SETTLE.format(jobs=self.model._meta.db_table), _values_of(settled))
            return bool(cursor.rowcount == len(settled))

    def settle_in_place(self, settled: Settled) -> bool | None:
        """As `settle`, of one job that has a place: whether anybody waits for it; None when the
        claim was lost.
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
        """Waiting again, due at that time. False when the claim was lost meanwhile."""
        why = noted(End.RETRY if retried else End.TROUBLE, error)
        retries = F("retries") + int(retried)
        return bool(self.held(claim).update(**waiting(due_at), **why, retries=retries, **changes))

    @transaction.atomic
    def give_back(self, claims: Sequence[Claim], *, were_begun: bool) -> None:
        """These wait as before; what was begun counts as an attempt."""
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
        """Dead, with the error kept. False when the claim was lost meanwhile."""
        return bool(self.held(claim).update(**ended(State.DEAD), **noted(End.DEAD, error)))

    def call_off(self, claim: Claim, *, error: dict[str, Any]) -> bool:
        """Cancelled: by its own body, or expired. False when the claim was lost meanwhile."""
        return bool(
            self.held(claim).update(**ended(State.CANCELLED), **noted(End.CANCELLED, error))
        )

    def delete_for_replacement(self, claim: Claim) -> bool:
        """The row gives its id away and is gone. False when the claim was lost meanwhile."""
        return bool(self.held(claim).delete()[0])

    def record_unreachable(self, id_: UUID, *, task: str, error: dict[str, Any]) -> None:
        """A dead row for a job that will never be promised, so that whoever asks for its result is
        told.
        """
        never = self.model(
            id=id_,
            task=task,
            queue="",
            unreachable=True,
            owner=context.current().get(ledger_settings.OWNER, ""),
            args=[[], {}],
            envelope={},
            due_at=Now(),
            ring_at=Now(),
            context={key: value for key, value in context.current().items() if key != "job"},
            **ended(State.DEAD),
            error=error,
        )
        self.bulk_create([never], ignore_conflicts=True)

    def but_in_threads(self, tasks: Sequence[str]) -> "JobQuerySet":
        """Without those of these tasks that `due` finds."""
        return self.exclude(task__in=tasks, shared_losses__lt=ledger_settings.SHARED_LOSSES)

    def prune(self, *, before: datetime, limit: int) -> int:
        """Delete up to `limit` finished jobs that ended before then."""
        ended = self.filter(state__in=FINISHED, finished_at__lt=before)
        ids = list(ended.order_by("finished_at").values_list("pk", flat=True)[:limit])
        # asks once more: somebody may have retried one meanwhile
        return ended.filter(pk__in=ids).delete()[0]


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, cls=CeleryEncoder)


def _values_of(settled: Sequence[Settled]) -> dict[str, Any]:
    return {
        "ids": [one.claim.id for one in settled],
        "tokens": [one.claim.token for one in settled],
        "results": [_text(one.result) for one in settled],
        "effects": [_text(one.effects or None) for one in settled],
    }
