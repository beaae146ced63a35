"""Answers a bell: claims the job whose turn it is and hands it to Celery's tracer.

The tracer, its signals and the task's hooks get the request and the arguments that a full message
would have brought. They get nothing if no job can be claimed.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import Task, signals, states
from celery.app.task import Context
from celery.app.trace import TraceInfo, trace_ok_t
from celery.exceptions import Ignore, SoftTimeLimitExceeded
from django.db import Error, close_old_connections
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from celery_ledger import context
from celery_ledger.conf import ledger_settings
from celery_ledger.errors import Expired, OneByOne, is_passing
from celery_ledger.execution import attempt, batch
from celery_ledger.execution.batch import Batch
from celery_ledger.execution.claiming import (
    claim_first_attempts,
    on_a_good_connection,
    timelimit_of,
)
from celery_ledger.execution.current import Attempt, claimed, outside_any_attempt
from celery_ledger.execution.turns import (
    Tracer,
    claim_whose_turn_it_is,
    next_batch,
    others_wait,
    queue_of,
)
from celery_ledger.execution.verdict import call_off, moment
from celery_ledger.models import Claim
from celery_ledger.models.ids import row_id
from celery_ledger.publishing.bell import Ring
from celery_ledger.telemetry import events

log = logging.getLogger(__name__)

# The fields of a request that come from its bell. Every other field comes from the row, since
# anybody who reaches the broker may ring, with anything in the bell.
OF_A_BELL = (
    *("hostname", "id", "is_eager", "lang", "logfile", "loglevel"),
    *("properties", "task", "timelimit"),
)


def answer(task: Task, tracer: Tracer, bell: dict[str, Any]) -> trace_ok_t:
    """Claim the job whose turn it is and run it by Celery's tracer; return what the tracer returns.

    `bell` is the request as the bell brought it. Its job need not be the one whose turn it is. Its
    `also` are the ids of jobs of the same task, whose bells were handed over with it.
    """
    also = batch.trusted_ids(task, bell.pop("also", None))
    bells = [bell, *({**bell, "id": id_} for id_ in also)]
    return _answer_several(task, tracer, bells) if also else _answer_one(task, tracer, bell)


def _answer_one(task: Task, tracer: Tracer, bell: dict[str, Any]) -> trace_ok_t:
    try:
        turn = partial(claim_whose_turn_it_is, task, tracer, bell)
        task, tracer, bell, claim = on_a_good_connection(turn)
    except Ignore as exc:
        return _nothing_to_do(exc)
    except (Error, SoftTimeLimitExceeded) as exc:
        return _not_now(bell, exc)
    return trace_claimed(Attempt(task, claim), tracer, bell)


def _answer_several(task: Task, tracer: Tracer, bells: list[dict[str, Any]]) -> trace_ok_t:
    """Answer bells of one task: in one transaction, unless jobs of several owners, or a job with a
    priority, wait in their queue.
    """
    try:
        if on_a_good_connection(partial(others_wait, bells[0])):
            return _answer_in_turn(task, tracer, bells)
        ids = [row_id(bell["id"]) for bell in bells]
        claims = on_a_good_connection(partial(claim_first_attempts, task, bells[0], ids))
    except (Error, SoftTimeLimitExceeded) as exc:
        return _not_now(bells[0], exc)
    outcome = _answer_with_batch(task, tracer, bells[0], claims) if claims else None
    if row_id(bells[0]["id"]) not in {claim.id for claim in claims}:
        own_outcome = _answer_one(task, tracer, bells[0])  # it may be no first attempt
        outcome = outcome or own_outcome
    return outcome


def _answer_in_turn(task: Task, tracer: Tracer, bells: list[dict[str, Any]]) -> trace_ok_t:
    """Answer each bell with the job whose turn it is: first attempts of several owners in one
    transaction, any other job by itself. Bells that are left after BATCH_S ring again.
    """
    ends_at, waiting, outcome = monotonic() + ledger_settings.BATCH_S, [*bells], None
    while waiting and (outcome is None or monotonic() < ends_at):
        ids = next_batch(task.app, waiting)
        claims = claim_first_attempts(task, waiting[0], ids) if ids else []
        if claims:
            newest = _answer_with_batch(task, tracer, waiting[0], claims)
        else:
            newest = _answer_one(task, tracer, waiting[0])
        waiting = waiting[max(1, len(claims)) :]
        outcome = outcome or newest
    _ring_again(task, bells[0], [bell["id"] for bell in waiting], batch=True)
    return outcome


def _not_now(bell: dict[str, Any], exc: BaseException) -> trace_ok_t:
    """Leave the bell unanswered: the clock rings again. Raises `exc` if it does not pass by
    itself.
    """
    if not is_passing(exc):
        raise exc
    log.warning("Job %s cannot be claimed now; its bell rings again: %s", bell["id"], exc)
    return _nothing_to_do(Ignore("Postgres is in trouble"))


def trace_claimed(current: Attempt, tracer: Tracer, bell: dict[str, Any]) -> trace_ok_t:
    """Run a job that this process has claimed by Celery's tracer; return what the tracer
    returns.
    """
    claim = current.claim
    with context.replaced({**claim.context, "job": str(claim.id)}):
        of_the_bell = {name: bell[name] for name in OF_A_BELL if name in bell}
        own_headers = claim.envelope.get("own_headers", {})
        texts = current.task.app.amqp.represent(claim.args, claim.kwargs)
        request = {**texts, **own_headers, **of_the_bell, **_of_the_row(claim, bell)}
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
    """Bring the next in line for the attempt's place when the block is left, in whatever way."""
    try:
        yield
    finally:
        if (key := current.claim.concurrency_key) is not None and current.leaves_place:
            current.task.app.amqp.bring([key])


def _answer_with_batch(
    task: Task, tracer: Tracer, bell: dict[str, Any], claims: list[Claim]
) -> trace_ok_t:
    """Make the attempts of these claims, in one transaction if all of them end well. Claims that
    are left after BATCH_S are given back, and their bells ring again.
    """

    def begin(claim: Claim, several: Batch | None) -> trace_ok_t:
        with outside_any_attempt():
            own_bell = {**bell, "id": str(claim.id)}
            return trace_claimed(Attempt(task, claim, several), tracer, own_bell)

    try:
        outcome, given_back = batch.make(task.name, claims, begin)
    except SoftTimeLimitExceeded as exc:  # between two bodies
        return _not_now(bell, exc)
    _ring_again(task, bell, [str(claim.id) for claim in given_back], batch=False)
    return outcome or _nothing_to_do(Ignore("given back"))


def _ring_again(task: Task, bell: dict[str, Any], ids: list[str], *, batch: bool) -> None:
    """Ring for these jobs of the task, in the queue and under the time limits of that bell."""
    if ids:
        queue, timelimit = queue_of(bell), timelimit_of(bell)
        rings = [Ring(id_, task.name, queue, timelimit, batch=batch) for id_ in ids]
        task.app.amqp.bell.ring(rings)


def _nothing_to_do(why: Ignore) -> trace_ok_t:
    """What a tracer returns for a message that Celery is to forget, without a line in its log."""
    close_old_connections()  # as after a task, or a broken connection might stay unnoticed
    return trace_ok_t(_info_of(why), TraceInfo(states.IGNORED, why), 0.0, None)


def _info_of(exc: Ignore) -> ExceptionInfo:
    try:
        raise exc
    except Ignore:  # now the exception has a traceback, which billiard needs
        return ExceptionInfo(internal=True)


def _call_off(current: Attempt, request: dict[str, Any]) -> trace_ok_t:
    """Cancel a job whose `expires` has passed, and send Celery's signal `task_revoked`."""
    late = Ignore("expired")
    with suppress(Ignore), attempt.reported(current):
        call_off(current.task.app, current.claim, Expired("nobody came for it in time"))
        raise late
    revoked = {"request": Context(request), "terminated": False, "signum": None, "expired": True}
    signals.task_revoked.send(sender=current.task, **revoked)
    return _nothing_to_do(late)


def _expired(claim: Claim) -> bool:
    """Whether the job's `expires` has passed now, when its body would begin."""
    expires = claim.envelope["headers"].get("expires")
    return bool(expires) and moment(parse_datetime(expires)) < timezone.now()


def _of_the_row(claim: Claim, bell: dict[str, Any]) -> dict[str, Any]:
    """The fields of the request that a full message would have had, made from the row."""
    envelope = claim.envelope
    return {
        "correlation_id": str(claim.id),
        "delivery_info": {
            **(bell.get("delivery_info") or {}),
            "priority": claim.priority,
            "redelivered": claim.attempts - claim.retries > 1,  # it began before, and came back
        },
        **{name: value for name, value in envelope["headers"].items() if value is not None},
        "ignore_result": envelope["headers"]["ignore_result"],  # a bell has one of its own
        "retries": claim.retries,
        "root_id": str(claim.root_id or claim.id),
        "parent_id": claim.parent_id and str(claim.parent_id),
        "callbacks": envelope["callbacks"],
        "errbacks": envelope["errbacks"],
        "chain": envelope["chain"],
        "chord": envelope["chord"],
    }
