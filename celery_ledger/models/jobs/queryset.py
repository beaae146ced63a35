"""Every lock and every change of jobs; `models.jobs.job` draws the life of one."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import batched, chain
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection, models, transaction
from django.db.models import ExpressionWrapper, F, Q, Value
from django.db.models.functions import Least, Now, Power
from django.utils import timezone

from celery_ledger import context
from celery_ledger.backoff import ring_delay_s
from celery_ledger.conf import ledger_settings
from celery_ledger.models.encoding import CeleryEncoder
from celery_ledger.models.jobs.claim import CLAIM, LIMITS, SETTLE, Claim, Settled
from celery_ledger.models.jobs.history import End, appended
from celery_ledger.models.jobs.promise import PROMISE, ROW, values_of
from celery_ledger.models.jobs.states import FINISHED, RETRYABLE, RUNS, WAITS, State
from celery_ledger.models.rate_limit import Rate
from celery_ledger.models.worker import Worker

if TYPE_CHECKING:
    from celery_ledger.models.jobs.job import Job


class JobQuerySet(models.QuerySet["Job"]):
    def promise(self, jobs: Sequence["Job"], *, once: bool) -> None:
        """Write the rows of these, which wait from now on, in their order; `once`: not of those
        that are there already. In the caller's transaction: PROMISE_BATCH rows are one statement.
        """
        on_conflict = "ON CONFLICT DO NOTHING" if once else ""
        with connection.cursor() as cursor:
            for some in batched(jobs, ledger_settings.PROMISE_BATCH):
                rows = ", ".join([ROW] * len(some))
                statement = PROMISE.format(
                    jobs=self.model._meta.db_table, rows=rows, on_conflict=on_conflict
                )
                values = (values_of(job, place) for place, job in enumerate(some))
                cursor.execute(statement, [*chain.from_iterable(values)])

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
    ) -> list[Claim]:
        """Take the waiting and due ones of these jobs of one task for one attempt; the others
        belong to somebody else. `first`: those that have had none.

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
        }
        with connection.cursor() as cursor:
            cursor.execute(CLAIM.format(jobs=self.model._meta.db_table, limits=LIMITS), values)
            rows = cursor.fetchall()
        return [Claim.of(token, *row) for row in rows]

    def held(self, claim: Claim) -> "JobQuerySet":
        """The job, if this claim still holds it: the fence in front of every verdict."""
        return self.filter(pk=claim.id, token=claim.token, **RUNS)

    @transaction.atomic
    def take_slot(self, id_: UUID, *, task: str, rate_limit: str | float) -> bool:
        """Whether this job of a rate-limited task may begin now; if not, it is due in the slot that
        it has taken.
        """
        due = self.filter(pk=id_, task=task, **WAITS, due_at__lte=Now(), slot_at=None)
        if not due.select_for_update(skip_locked=True, no_key=True).values("pk"):
            return True  # its slot has come, or the claim will see that it is not ours
        slot = Rate.objects.take(task, rate_limit)
        if slot:
            self.filter(pk=id_).update(**_waiting(slot), slot_at=slot)
        return slot is None

    def settle(self, settled: Sequence[Settled]) -> bool:
        """Done. False when one of their claims was lost meanwhile: the caller must roll back."""
        values: dict[str, Any] = {
            "ids": [one.claim.id for one in settled],
            "tokens": [one.claim.token for one in settled],
            "results": [_text(one.result) for one in settled],
            "effects": [_text(one.effects or None) for one in settled],
        }
        with connection.cursor() as cursor:
            cursor.execute(SETTLE.format(jobs=self.model._meta.db_table), values)
            return bool(cursor.rowcount == len(settled))

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
        noted = _noted(End.RETRY if retried else End.TROUBLE, error)
        retries = F("retries") + int(retried)
        return bool(
            self.held(claim).update(**_waiting(due_at), **noted, retries=retries, **changes)
        )

    @transaction.atomic
    def give_back(self, claims: Sequence[Claim], *, were_begun: bool) -> None:
        """These wait as before; what was begun counts as an attempt."""
        ids = [claim.id for claim in claims]
        held = self.filter(pk__in=ids, token__in={claim.token for claim in claims}, **RUNS)
        locked = held.select_for_update(skip_locked=True, no_key=True).order_by("pk")
        attempts = F("attempts") - int(not were_begun)
        self.filter(pk__in=[*locked.values_list("pk", flat=True)]).update(
            state=State.WAITING, lease_until=None, attempts=attempts
        )

    def kill(self, claim: Claim, *, error: dict[str, Any]) -> bool:
        """Dead, with the error kept. False when the claim was lost meanwhile."""
        return bool(self.held(claim).update(**_ended(State.DEAD), **_noted(End.DEAD, error)))

    def call_off(self, claim: Claim, *, error: dict[str, Any]) -> bool:
        """Cancelled: by its own body, or expired. False when the claim was lost meanwhile."""
        return bool(
            self.held(claim).update(**_ended(State.CANCELLED), **_noted(End.CANCELLED, error))
        )

    @transaction.atomic
    def retry(self, *, by: str) -> list["Job"]:
        """The dead and cancelled ones are due now, counted as new, their error kept. Returns them
        as they were.
        """
        jobs = self._take_in(*RETRYABLE)
        ring_at = Now() + timedelta(seconds=ledger_settings.RING_GRACE_S)
        anew = {
            **_waiting(Now()),
            "ring_at": ring_at,
            "finished_at": None,
            "attempts": 0,
            "retries": 0,
            "losses": 0,
            "shared_losses": 0,
        }
        anew["history"] = appended(End.RETRIED, {"type": "Retried", "message": f"by {by}"})
        ids = [job.pk for job in jobs]
        self.model.objects.filter(pk__in=ids, state__in=RETRYABLE).update(**anew)
        return jobs

    @transaction.atomic
    def cancel(self, *, error: dict[str, Any]) -> list["Job"]:
        """The waiting ones will not run. Returns them as they were."""
        jobs = self._take_in(State.WAITING)
        ended = {**_ended(State.CANCELLED), **_noted(End.CANCELLED, error)}
        ids = [job.pk for job in jobs]
        self.model.objects.filter(pk__in=ids, state=State.WAITING).update(**ended)
        return jobs

    @transaction.atomic
    def discard(self, *, note: dict[str, Any]) -> list["Job"]:
        """The dead ones are put aside, their error kept. Returns them as they were."""
        jobs = self._take_in(State.DEAD)
        aside = {"state": State.CANCELLED, "history": appended(End.DISCARDED, note)}
        ids = [job.pk for job in jobs]
        self.model.objects.filter(pk__in=ids, state=State.DEAD).update(**aside)
        return jobs

    @transaction.atomic
    def run_now(self, ids: Sequence[UUID], *, queue: str) -> None:
        """Those of these that wait for a later time are due now, in that queue; the clock rings."""
        early = self.filter(pk__in=ids, **WAITS, due_at__gt=Now(), slot_at=None)
        held = list(
            early.select_for_update(skip_locked=True, no_key=True)
            .order_by("pk")
            .values_list("pk", flat=True)
        )
        self.filter(pk__in=held).update(**_waiting(Now()), queue=queue)

    def _take_in(self, *states: State) -> list["Job"]:
        locked = self.filter(state__in=states).select_for_update(no_key=True)
        return list(locked.defer("args", "result").order_by("pk"))

    def lost(self) -> "JobQuerySet":
        """Running jobs past their lease, or whose worker has been silent for too long."""
        silence = timedelta(seconds=ledger_settings.WORKER_SILENCE_S)
        alive = Worker.objects.filter(pk=models.OuterRef("worker"), seen_at__gt=Now() - silence)
        return self.filter(state=State.RUNNING).filter(
            Q(lease_until__lt=Now()) | Q(worker__isnull=False) & ~models.Exists(alive)
        )

    def running_at(self, worker: UUID) -> "JobQuerySet":
        return self.filter(state=State.RUNNING, worker=worker)

    def take_for_rescue(self, limit: int) -> list["Job"]:
        """Lock up to `limit` of these running jobs in pk order, leaving those that somebody is
        settling right now. `in_company` says which of them shared their process with another.
        """
        beside = self.model.objects.filter(
            state=State.RUNNING, worker=models.OuterRef("worker"), pid=models.OuterRef("pid")
        ).exclude(pk=models.OuterRef("pk"))
        return list(
            self.annotate(in_company=models.Exists(beside))  # type: ignore[no-redef]
            .select_for_update(skip_locked=True, no_key=True)
            .defer("args", "result")
            .order_by("pk")[:limit]
        )

    def release(self, jobs: Sequence["Job"], *, error: dict[str, Any], counts: bool) -> None:
        """Locked running jobs wait again at once; `counts` says whether their worker was lost or
        left politely.
        """
        noted = _noted(End.LOST if counts else End.STOPPED, error)
        to_blame = [job.pk for job in jobs if job.is_to_blame]
        beside = [job.pk for job in jobs if not job.is_to_blame]
        for ids, column in ((to_blame, "losses"), (beside, "shared_losses")):
            if ids:
                lost = {column: F(column) + int(counts)}
                self.filter(pk__in=ids).update(**_waiting(timezone.now()), **noted, **lost)

    def kill_lost(self, job: "Job", *, error: dict[str, Any]) -> None:
        """Dead: this locked running job took too many workers down with it."""
        self.filter(pk=job.pk).update(
            **_ended(State.DEAD), **_noted(End.LOST, error), losses=F("losses") + 1
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
            **_ended(State.DEAD),
            error=error,
        )
        self.bulk_create([never], ignore_conflicts=True)

    def due_for(self, seconds: float) -> "JobQuerySet":
        """Those that wait, and have been due for so long or longer."""
        longest = (
            ledger_settings.RING_CAP_S + ledger_settings.RING_GRACE_S
        )  # which none rings after
        return self.filter(
            state=State.WAITING,
            due_at__lte=Now() - timedelta(seconds=seconds),
            ring_at__lte=Now() + timedelta(seconds=longest),
        )

    def take_for_ring(self, limit: int, *, lost: bool = False) -> list["Job"]:
        """Lock up to `limit` due jobs whose time to be rung has come, those that waited longest
        first.

        `lost`: also those whose time has not come, but whose bells are known to be lost. What rings
        later than a back-off's cap from now is not due yet, and is not looked at.
        """
        grace, cap = (
            timedelta(seconds=ledger_settings.RING_GRACE_S),
            timedelta(seconds=ledger_settings.RING_CAP_S),
        )
        unheard = Q(ring_at__lte=Now())
        if lost:
            unheard = (unheard | Q(due_at__lte=Now() - grace)) & Q(ring_at__lte=Now() + cap + grace)
        return self._taken(self.filter(unheard, state=State.WAITING).order_by("ring_at")[:limit])

    def _taken(self, some: "JobQuerySet") -> list["Job"]:
        return list(
            self.filter(pk__in=some.values("pk"))
            .select_for_update(skip_locked=True, no_key=True)
            .defer("args", "result")
            .order_by("pk")
        )

    def believed_rung(self) -> "JobQuerySet":
        """Due jobs that the clock rings again only later: their bells should stand in the queue."""
        longest = timedelta(seconds=ledger_settings.RING_CAP_S + ledger_settings.RING_GRACE_S)
        rung = self.filter(state=State.WAITING, due_at__lte=Now())
        return rung.filter(ring_at__gt=Now(), ring_at__lte=Now() + longest)

    def take_missing(self, limit: int) -> list["Job"]:
        """Lock up to `limit` jobs that were rung longer ago than a grace: fewer bells stand in the
        queue than should.
        """
        grace = timedelta(seconds=ledger_settings.RING_GRACE_S)
        cap = timedelta(seconds=ledger_settings.RING_CAP_S)
        doubled = Power(Value(2.0), Least(F("rings"), Value(30))) * Value(grace)
        pause = Least(ExpressionWrapper(doubled, models.DurationField()), Value(cap))  # of `rang`
        long_rung = self.believed_rung().filter(
            due_at__lte=Now() - grace, ring_at__lte=Now() - grace + pause
        )
        return self._taken(long_rung.order_by("ring_at")[:limit])

    def rang(self, jobs: Sequence["Job"]) -> None:
        """Note one more bell for these locked jobs and when the next may follow."""
        for job in jobs:
            job.rings += 1
            pause_s = ring_delay_s(
                job.rings, base_s=ledger_settings.RING_GRACE_S, cap_s=ledger_settings.RING_CAP_S
            )
            job.ring_at = timezone.now() + timedelta(seconds=pause_s)
        self.bulk_update(jobs, ["rings", "ring_at"])

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


def _ended(state: State) -> dict[str, Any]:
    return {"state": state, "lease_until": None, "finished_at": Now()}


def _noted(end: End, error: dict[str, Any]) -> dict[str, Any]:
    return {"error": error, "history": appended(end, error)}


def _waiting(due_at: datetime | Now) -> dict[str, Any]:
    return {
        "state": State.WAITING,
        "lease_until": None,
        "due_at": due_at,
        "ring_at": due_at,
        "rings": 0,
    }
