"""What comes before Celery's tracer: the claim. So the tracer, its signals and the task's own hooks
see the request and the arguments that a full message would have brought, and see nothing of a bell
that rings for nobody.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from billiard.einfo import ExceptionInfo
from celery import Task, signals, states
from celery.app.task import Context
from celery.app.trace import TraceInfo, build_tracer, trace_ok_t
from celery.exceptions import Ignore, SoftTimeLimitExceeded
from django.db import Error, IntegrityError, close_old_connections, connection
from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from celery_ledger import context
from celery_ledger.backoff import pause_s
from celery_ledger.conf import ledger_settings
from celery_ledger.execution import attempt, batch
from celery_ledger.execution.batch import Batch
from celery_ledger.execution.current import Attempt, claimed, outside_any_attempt
from celery_ledger.execution.errors import CannotBeStored, Expired, OneByOne
from celery_ledger.execution.turns import instead, next_batch, others_wait, whose_turn
from celery_ledger.execution.verdict import call_off, is_passing, moment
from celery_ledger.models import WAITS, Claim, Job
from celery_ledger.models.ids import row_id
from celery_ledger.publishing.bell import Ring
from celery_ledger.publishing.limits import (
    has_rate_by_key,
    keys_of,
    keys_of_the_task,
    places_of,
    rate_of,
)
from celery_ledger.telemetry import events

log = logging.getLogger(__name__)

# What a request has of its bell, which anybody may have rung, with whatever in it.
OF_A_BELL = (
    *("hostname", "id", "is_eager", "lang", "logfile", "loglevel"),
    *("properties", "task", "timelimit"),
)

PLACE_TRIES = 20  # each time that somebody else was quicker, there is one place less to try

Tracer = Callable[[str, Any, Any, dict[str, Any]], trace_ok_t]
_worker: UUID | None = None


def work_as(worker: UUID | None) -> None:
    """Claims of this process, and of those forked from it, belong to this worker from now on."""
    global _worker  # noqa: PLW0603 - a process has one identity, set before it forks
    _worker = worker


def trace(task: Task, tracer: Tracer, bell: dict[str, Any]) -> trace_ok_t:
    """Claim the job whose bell rang and hand it to Celery's tracer, as if its message had come.

    `bell` is the request as the bell brought it; another job may have to be done before its own.
    `also` in it are jobs of the same task whose bells waited behind it. Returns what a tracer
    returns.
    """
    also = batch.heard_together(task, bell.pop("also", None))
    bells = [bell, *({**bell, "id": id_} for id_ in also)]
    return _trace_several(task, tracer, bells) if also else _trace_one(task, tracer, bell)


def _trace_one(task: Task, tracer: Tracer, bell: dict[str, Any]) -> trace_ok_t:
    try:
        turn = partial(_claim_whose_turn_it_is, task, tracer, bell)
        task, tracer, bell, claim = _on_a_good_connection(turn)
    except Ignore as exc:
        return _nothing_to_do(exc)
    except (Error, SoftTimeLimitExceeded) as exc:
        return _not_now(bell, exc)
    return trace_claimed(Attempt(task, claim), tracer, bell)


def _trace_several(task: Task, tracer: Tracer, bells: list[dict[str, Any]]) -> trace_ok_t:
    """In one transaction, if nobody else waits in their queue."""
    try:
        if _on_a_good_connection(partial(others_wait, bells[0])):
            return _trace_in_turn(task, tracer, bells)
        ids = [row_id(bell["id"]) for bell in bells]
        claims = _on_a_good_connection(partial(_claim_first_attempts, task, bells[0], ids))
    except (Error, SoftTimeLimitExceeded) as exc:
        return _not_now(bells[0], exc)
    outcome = _trace_batch(task, tracer, bells[0], claims) if claims else None
    if row_id(bells[0]["id"]) not in {claim.id for claim in claims}:
        its_own = _trace_one(task, tracer, bells[0])  # it may have been tried before
        outcome = outcome or its_own
    return outcome


def _trace_in_turn(task: Task, tracer: Tracer, bells: list[dict[str, Any]]) -> trace_ok_t:
    """Each bell for whose turn it is: of several owners together, or one after another. Those that
    would wait for long ring again.
    """
    ends_at, waiting, outcome = monotonic() + ledger_settings.BATCH_S, [*bells], None
    while waiting and (outcome is None or monotonic() < ends_at):
        ids = next_batch(task.app, waiting)
        claims = _claim_first_attempts(task, waiting[0], ids) if ids else []
        if claims:
            made = _trace_batch(task, tracer, waiting[0], claims)
        else:
            made = _trace_one(task, tracer, waiting[0])
        waiting = waiting[max(1, len(claims)) :]
        outcome = outcome or made
    _ring_again(task, bells[0], [bell["id"] for bell in waiting], batch=True)
    return outcome


def _not_now(bell: dict[str, Any], exc: BaseException) -> trace_ok_t:
    if not is_passing(exc):
        raise exc
    log.warning("Job %s cannot be claimed now; its bell rings again: %s", bell["id"], exc)
    return _nothing_to_do(Ignore("Postgres is in trouble"))


def trace_claimed(current: Attempt, tracer: Tracer, bell: dict[str, Any]) -> trace_ok_t:
    """Hand a job that this process has claimed to Celery's tracer."""
    claim = current.claim
    with context.replaced({**claim.context, "job": str(claim.id)}):
        of_the_bell = {name: bell[name] for name in OF_A_BELL if name in bell}
        own_headers = claim.envelope.get("own_headers", {})
        shown = current.task.app.amqp.shown(claim.args, claim.kwargs)
        request = {**shown, **own_headers, **of_the_bell, **_full(claim, bell)}
        events.received(current, request)
        with _giving_its_place_back(current):
            if _expired(claim):
                return _nothing_to_do(OneByOne()) if current.batch else _call_off(current, request)
            with claimed(current):
                outcome = tracer(bell["id"], claim.args, claim.kwargs, request)
            if current.body is None:
                attempt.end_before_the_body(current, outcome.info.retval)
            return outcome


@contextmanager
def _giving_its_place_back(current: Attempt) -> Iterator[None]:
    """However the attempt ends, after its commit the next in line for its place is brought."""
    try:
        yield
    finally:
        if (key := current.claim.concurrency_key) is not None and current.leaves_place:
            current.task.app.amqp.bring([key])


def _claim_first_attempts(task: Task, bell: dict[str, Any], ids: list[UUID]) -> list[Claim]:
    """Those of these jobs that have had no attempt, in this order, under the bell's time limits."""
    claims = claim(ids, task, bell.get("timelimit") or (None, None), first=True)
    return sorted(claims, key=lambda claim: ids.index(claim.id))


def _trace_batch(
    task: Task, tracer: Tracer, bell: dict[str, Any], claims: list[Claim]
) -> trace_ok_t:
    """Those that would wait for long go back."""

    def begin(claim: Claim, several: Batch | None) -> trace_ok_t:
        with outside_any_attempt():
            its_own = {**bell, "id": str(claim.id)}
            return trace_claimed(Attempt(task, claim, several), tracer, its_own)

    try:
        outcome, given_back = batch.make(task.name, claims, begin)
    except SoftTimeLimitExceeded as exc:  # between two bodies
        return _not_now(bell, exc)
    _ring_again(task, bell, [str(claim.id) for claim in given_back], batch=False)
    return outcome or _nothing_to_do(Ignore("given back"))


def _ring_again(task: Task, bell: dict[str, Any], ids: list[str], *, batch: bool) -> None:
    if ids:
        queue, limits = bell["delivery_info"]["routing_key"], bell.get("timelimit") or (None, None)
        rings = [Ring(id_, task.name, queue, limits, batch=batch) for id_ in ids]
        task.app.amqp.bell.ring(rings)


def _on_a_good_connection[Claimed](claim: Callable[[], Claimed]) -> Claimed:
    """One that turns out to be broken is made anew, once."""
    try:
        return claim()
    except Error as exc:
        if not is_passing(exc) or connection.is_usable():
            raise
    connection.close()
    return claim()


def _claim_whose_turn_it_is(
    task: Task, tracer: Tracer, bell: dict[str, Any]
) -> tuple[Task, Tracer, dict[str, Any], Claim]:
    """Of the job whose turn it is; of the bell's own, when somebody else was quicker; or, when that
    is done, of one whose bell was used for it.
    """
    its_own, app = (bell["id"], bell["task"]), task.app
    turn = whose_turn(app, bell)
    if turn != its_own:
        with suppress(Ignore):
            return _claim_that(turn, task, tracer, bell)
    try:
        return task, tracer, bell, _claim(task, Context(bell))
    except Ignore:
        if (found := instead(app, bell)) is None:
            raise
    return _claim_that(found, task, tracer, bell)


def _claim_that(
    turn: tuple[str, str], task: Task, tracer: Tracer, bell: dict[str, Any]
) -> tuple[Task, Tracer, dict[str, Any], Claim]:
    """Another job than the bell's."""
    id_, name = turn
    its_task = task.app.tasks[name]
    if its_task is not task:
        tracer = its_task.tracer or build_tracer(name, its_task, app=task.app)
    bell = {**bell, "id": id_, "task": name}
    return its_task, tracer, bell, _claim(its_task, Context(bell))


def _claim(task: Task, bell: Context) -> Claim:
    """The job of this bell. Raises Ignore when it is not ours."""
    id_, limits = row_id(bell.id), bell.timelimit or (None, None)
    claims = claim_within(id_, task, limits) if task.is_limited else claim([id_], task, limits)
    if not claims:
        raise Ignore(
            "not ours: unknown, not due, finished, with another worker, "
            "rung under other time limits, or it waits for its slot or place"
        )
    return claims[0]


def claim_within(id_: UUID, task: Task, limits: Sequence[float | None]) -> list[Claim]:
    """As `claim`, of one job of a task that is limited. One that may not begin waits for its slot,
    or stands in line for a place.
    """
    if task.concurrency:
        return _claim_a_place(id_, task, limits)
    claims = claim([id_], task, limits, slots=_slots(task))
    if not claims and _has_its_slot(id_, task):
        claims = claim([id_], task, limits)
    return claims


def _claim_a_place(id_: UUID, task: Task, limits: Sequence[float | None]) -> list[Claim]:
    """A slot that has come while every place was taken is lost: the next one is taken when there
    is a place, so that no more begin in a while than may.
    """
    places = places_of(task)
    for _ in range(PLACE_TRIES):
        if task.rate_limit and (_stands(id_, task, places) or not _has_its_slot(id_, task)):
            return []
        try:
            claims = claim([id_], task, limits, places=places)
        except IntegrityError:  # somebody has taken that very place
            continue
        if claims:
            _bring_those_behind(claims[0], task, places)
            return claims
        if _stands(id_, task, places) or not _note_keys(id_, task):
            return []
    return []  # the clock rings for it


def _bring_those_behind(taken: Claim, task: Task, places: int) -> None:
    """One that was in line may have others behind it, and places for them."""
    key = taken.concurrency_key
    if taken.is_wanted and key and Job.objects.has_place(key, places=places):
        task.app.amqp.bring([key])


def _stands(id_: UUID, task: Task, places: int) -> bool:
    """Whether the job had to stand in line. A place that was given back meanwhile was offered to
    nobody: then it is offered now.
    """
    key = Job.objects.stand_in_line(id_, places=places)
    if key is not None and not Job.objects.leave_word(id_, key, places=places):
        task.app.amqp.bring([key])
    return key is not None


def _has_its_slot(id_: UUID, task: Task) -> bool:
    begins = Job.objects.take_slot(id_, task=task.name, **_slots(task))
    if begins is None and _note_keys(id_, task):
        begins = Job.objects.take_slot(id_, task=task.name, **_slots(task))
    return bool(begins)


def _slots(task: Task) -> dict[str, Any]:
    return {"pause_s": pause_s(rate_of(task)), "keyed": has_rate_by_key(task)}


def _note_keys(id_: UUID, task: Task) -> bool:
    """Of a job whose row lacks one, since whoever promised it knew of no such limit."""
    lacks = Q(concurrency_key=None) if task.concurrency else Q()
    lacks |= Q(rate_key=None) if has_rate_by_key(task) else Q()
    row = Job.objects.filter(lacks, pk=id_, task=task.name, **WAITS)
    call = row.values_list("args", flat=True).first() if lacks else None
    if call is None:
        return False
    positional, named = call
    try:
        keys = keys_of(task, positional, named)
    except CannotBeStored:
        keys = keys_of_the_task(task)
    return bool(row.update(concurrency_key=keys.concurrency, rate_key=keys.rate))


def claim(
    ids: Sequence[UUID],
    task: Task,
    limits: Sequence[float | None],
    *,
    first: bool = False,
    **within: Any,
) -> list[Claim]:
    """Those of these jobs of one task that are due and free, for this process; `limits` are the
    time limits, hard and soft, that their rows name; `first`: that have had no attempt;
    `within`: which `places` or `slots`.
    """
    hard_s = max(limits[0] or 0, task.time_limit)
    return Job.objects.claim(
        ids,
        task=task.name,
        token=uuid4(),
        worker=_worker,
        pid=os.getpid(),
        lease=timedelta(seconds=hard_s + ledger_settings.LEASE_GRACE_S),
        timelimit=limits,
        first=first,
        **within,
    )


def _nothing_to_do(why: Ignore) -> trace_ok_t:
    """Celery forgets the message and says nothing."""
    close_old_connections()  # as after a task, or this one might not notice that it is broken
    return trace_ok_t(_info_of(why), TraceInfo(states.IGNORED, why), 0.0, None)


def _info_of(exc: Ignore) -> ExceptionInfo:
    try:
        raise exc
    except Ignore:  # which has a traceback now, as billiard wants it
        return ExceptionInfo(internal=True)


def _call_off(current: Attempt, request: dict[str, Any]) -> trace_ok_t:
    """Celery's `expires` has passed: the job is cancelled, and whoever listens is told."""
    late = Ignore("expired")
    with suppress(Ignore), attempt.told_of(current):
        call_off(current.task.app, current.claim, Expired("nobody came for it in time"))
        raise late
    revoked = {"request": Context(request), "terminated": False, "signum": None, "expired": True}
    signals.task_revoked.send(sender=current.task, **revoked)
    return _nothing_to_do(late)


def _expired(claim: Claim) -> bool:
    """Celery's `expires`, counted when the work would begin."""
    expires = claim.envelope["headers"].get("expires")
    return bool(expires) and moment(parse_datetime(expires)) < timezone.now()


def _full(claim: Claim, bell: dict[str, Any]) -> dict[str, Any]:
    """What a full message would have told of the job, beside its arguments."""
    envelope = claim.envelope
    return {
        "correlation_id": str(claim.id),
        "delivery_info": {**(bell.get("delivery_info") or {}), "priority": claim.priority},
        **{name: value for name, value in envelope["headers"].items() if value is not None},
        "ignore_result": envelope["headers"]["ignore_result"],  # a bell's own says nothing of it
        "retries": claim.retries,
        "root_id": str(claim.root_id or claim.id),
        "parent_id": claim.parent_id and str(claim.parent_id),
        "callbacks": envelope["callbacks"],
        "errbacks": envelope["errbacks"],
        "chain": envelope["chain"],
        "chord": envelope["chord"],
    }
