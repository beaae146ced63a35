"""Decides which job a bell is answered with. A bell says that there is work in its queue; its own
job need not be the next one.

A job of a higher priority comes first. Among jobs of one priority the owners come in turn, so that
an owner with thousands of jobs keeps no other waiting. If nobody else waits, it is the bell's own.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from secrets import token_hex
from time import monotonic
from typing import Any
from uuid import UUID

from celery import Celery, Task
from celery.app.trace import build_tracer, trace_ok_t
from celery.exceptions import Ignore

from celery_ledger.conf import ledger_settings
from celery_ledger.execution.claiming import claim, timelimit_of
from celery_ledger.execution.limited import claim_within
from celery_ledger.models import Claim
from celery_ledger.models.ids import row_id
from celery_ledger.models.jobs import due
from celery_ledger.models.jobs.due import Next
from celery_ledger.models.jobs.low_water import LowWater
from celery_ledger.publishing.bell import Ring
from celery_ledger.publishing.waking import are_near, threaded_tasks

Tracer = Callable[[str, Any, Any, dict[str, Any]], trace_ok_t]


@dataclass
class _Look:
    """What this process saw when it last looked into a queue, and whom it has served there."""

    low_water: LowWater
    looked_at: float = float("-inf")  # by the monotonic clock
    priorities: bool = False  # a job waits whose priority is not 0
    owners: bool = False  # jobs of more than one owner wait
    served: str = ""  # the owner whose jobs were claimed last
    coming: list[Next] = field(default_factory=list)  # the further jobs of that owner's turn
    coming_under: Any = None  # the time limits that these have
    lent: int = 0  # bells that were answered with another job than their own


_looks: dict[str, _Look] = {}  # by queue


def claim_whose_turn_it_is(
    task: Task, tracer: Tracer, bell: dict[str, Any]
) -> tuple[Task, Tracer, dict[str, Any], Claim]:
    """Claim the job whose turn it is; if another process has it, the bell's own job; if another has
    that too, a job whose bell was used up for it (`instead`).

    Returns the task, the tracer and the bell of the claimed job, and its claim. Raises Ignore when
    none of these could be claimed.
    """
    own_job, app = (bell["id"], bell["task"]), task.app
    job = whose_turn(app, bell)
    if job != own_job:
        with suppress(Ignore):
            return _claim_another(job, task, tracer, bell)
    try:
        return task, tracer, bell, _claim(task, bell)
    except Ignore:
        other_job = instead(app, bell)
        if other_job is None:
            raise
    return _claim_another(other_job, task, tracer, bell)


def _claim_another(
    job: tuple[str, str], task: Task, tracer: Tracer, bell: dict[str, Any]
) -> tuple[Task, Tracer, dict[str, Any], Claim]:
    """Claim this job (its id and its task) in the place of the bell's own. As
    `claim_whose_turn_it_is` returns it.
    """
    id_, name = job
    other_task = task.app.tasks[name]
    if other_task is not task:
        tracer = other_task.tracer or build_tracer(name, other_task, app=task.app)
    bell = {**bell, "id": id_, "task": name}
    return other_task, tracer, bell, _claim(other_task, bell)


def _claim(task: Task, bell: dict[str, Any]) -> Claim:
    """Claim the job of this bell. Raises Ignore when it cannot be claimed."""
    id_, timelimit = row_id(bell["id"]), timelimit_of(bell)
    if task.is_limited:
        claims = claim_within(id_, task, timelimit)
    else:
        claims = claim([id_], task, timelimit)
    if not claims:
        raise Ignore(
            "not ours: unknown, not due, finished, with another worker, "
            "rung under other time limits, or it waits for its slot or place"
        )
    return claims[0]


def whose_turn(app: Celery, bell: dict[str, Any]) -> tuple[str, str]:
    """The id and the task of the job to claim: the bell's own, or another job of its queue under
    the same time limits, which the worker's main process enforces.
    """
    own_job, queue = (bell["id"], bell["task"]), queue_of(bell)
    if queue not in app.amqp.queues:
        return own_job
    look = _newest(queue)
    preferred = _preferred(app, bell, queue) if look.priorities else None
    if preferred is None and look.owners:
        preferred = _next_owners(app, bell, queue)
        look.lent += preferred is not None and preferred != own_job
    return preferred or own_job


def others_wait(bell: dict[str, Any]) -> bool:
    """Whether jobs of several owners wait in the bell's queue, or a job with a priority."""
    look = _newest(queue_of(bell))
    return look.priorities or look.owners


def next_batch(app: Celery, bells: list[dict[str, Any]]) -> list[UUID]:
    """The ids of the next jobs in turn that can be made in one transaction, one for each bell at
    most: those before the first that is no first attempt at the bells' task.

    None if that is only one job, or while a job with a priority waits.
    """
    queue = queue_of(bells[0])
    look = _newest(queue)
    if look.priorities:
        return []
    turns = _next_turns(app, look, queue, timelimit_of(bells[0]), number=len(bells))
    alike = [*takewhile(lambda turn: (turn.task, turn.attempts) == (bells[0]["task"], 0), turns)]
    if len(alike) <= 1:
        return []
    ids = [turn.id for turn in alike]
    look.served = alike[-1].owner
    look.lent += len(set(ids) - {row_id(bell["id"]) for bell in bells})
    return ids


def instead(app: Celery, bell: dict[str, Any]) -> tuple[str, str] | None:
    """The id and the task of the job to claim for a bell whose own job is done; None if there is
    none.

    The own job may have been the answer to another job's bell. That other job has no bell left, so
    this one is used for the next in turn.
    """
    queue = queue_of(bell)
    look = _looks.get(queue)
    if look is None or not look.lent:
        return None
    job = _next_owners(app, bell, queue)
    look.lent = look.lent - 1 if job else 0
    return job


def _preferred(app: Celery, bell: dict[str, Any], queue: str) -> tuple[str, str] | None:
    """The id and the task of a due job of a higher priority than the bell's own; None if there is
    none. A new bell is rung for the own job if that still waits.
    """
    timelimit = timelimit_of(bell)
    preferred = due.preferred_to(
        row_id(bell["id"]), queue=queue, tasks=_tasks(app), timelimit=timelimit
    )
    if preferred is None:
        return None
    id_, task, waits = preferred
    if waits:
        app.amqp.bell.ring([Ring(bell["id"], bell["task"], queue, timelimit)])
    return str(id_), task


def _next_owners(app: Celery, bell: dict[str, Any], queue: str) -> tuple[str, str] | None:
    """The id and the task of the next job in turn: a further one of the owner that is served now,
    up to its weight, or else the first one of the next owner.
    """
    look, timelimit = _looks[queue], timelimit_of(bell)
    if not look.coming or look.coming_under != timelimit:
        most = max([1, *ledger_settings.WEIGHTS.values()])
        turns = _next_turns(app, look, queue, timelimit, number=most)
        if not turns:  # among the 50 owners that one look goes through: begin anywhere next time
            look.served = token_hex()
            return None
        look.served, look.coming_under = turns[0].owner, timelimit
        look.coming = [turn for turn in turns if turn.owner == look.served]
    turn = look.coming.pop(0)
    return str(turn.id), turn.task


def _next_turns(
    app: Celery, look: _Look, queue: str, timelimit: Sequence[float | None], *, number: int
) -> list[Next]:
    """The next jobs in turn, up to `number`, of the owners after the one that was served last."""
    return due.of_the_next_owners(
        queue,
        after=look.served,
        tasks=_tasks(app),
        timelimit=timelimit,
        number=number,
        since=look.low_water.mark,
    )


def _newest(queue: str) -> _Look:
    """The look into this queue, repeated if it is more than TURN_LOOK_S old."""
    look = _looks.setdefault(queue, _Look(LowWater("due_at", queue)))
    if monotonic() - look.looked_at > ledger_settings.TURN_LOOK_S:
        look.priorities, look.owners = due.who_waits(queue, since=look.low_water.mark)
        look.looked_at = monotonic()
    return look


def queue_of(bell: dict[str, Any]) -> str:
    """The queue that the bell came by; "" if it does not say."""
    return (bell.get("delivery_info") or {}).get("routing_key") or ""


def _tasks(app: Celery) -> list[str]:
    """The names of the tasks whose jobs may be claimed for another job's bell: not those with
    limits, nor those that run in threads.
    """
    in_threads = threaded_tasks(app) if are_near() else {}
    return [
        name for name, task in app.tasks.items() if not task.is_limited and name not in in_threads
    ]


def forget_looks() -> None:
    """Forget what was seen in any queue, for tests, in which no time passes."""
    _looks.clear()
