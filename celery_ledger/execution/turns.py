"""Whose turn it is when a bell rings: a bell says that there is work in its queue, and whose it is
is decided here. A job of a higher priority comes first, and of jobs that are alike in that each
owner's in turn, so that one who has promised thousands keeps nobody else waiting.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from secrets import token_hex
from time import monotonic
from typing import Any
from uuid import UUID

from celery import Celery, Task
from celery.app.task import Context
from celery.app.trace import build_tracer, trace_ok_t
from celery.exceptions import Ignore

from celery_ledger.conf import ledger_settings
from celery_ledger.execution.claiming import claim
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
    """When this process last looked into a queue, and what it saw; whom it served last there, and
    how many bells it has answered with another's job.
    """

    low_water: LowWater
    looked_at: float = float("-inf")
    priorities: bool = False
    owners: bool = False  # more than one waits
    served: str = ""
    coming: list[Next] = field(default_factory=list)  # the rest of its jobs that are its turn
    coming_under: Any = None  # these time limits
    lent: int = 0


_looks: dict[str, _Look] = {}


def claim_whose_turn_it_is(
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


def whose_turn(app: Celery, bell: dict[str, Any]) -> tuple[str, str]:
    """The id and the task of the job to claim: that of the bell, or another of its queue that has
    the same time limits.
    """
    its_own, queue = (bell["id"], bell["task"]), _queue_of(bell)
    if queue not in app.amqp.queues:
        return its_own
    look = _newest(queue)
    preferred = _preferred(app, bell, queue) if look.priorities else None
    if preferred is None and look.owners:
        preferred = _next_owners(app, bell, queue)
        look.lent += preferred is not None and preferred != its_own
    return preferred or its_own


def others_wait(bell: dict[str, Any]) -> bool:
    """Whether several owners wait in its queue, or somebody whose job has a priority."""
    look = _newest(_queue_of(bell))
    return look.priorities or look.owners


def next_batch(app: Celery, bells: list[dict[str, Any]]) -> list[UUID]:
    """The jobs whose turn is next, each of another owner but for their weights, as far as they are
    first attempts at the task of these bells; none while somebody has a priority.
    """
    look = _newest(queue := _queue_of(bells[0]))
    if look.priorities:
        return []
    limits, tasks = _limits_of(bells[0]), _tasks(app)
    found = due.of_the_next_owners(
        queue,
        after=look.served,
        tasks=tasks,
        timelimit=limits,
        number=len(bells),
        since=look.low_water.mark,
    )
    alike = [*takewhile(lambda turn: (turn.task, turn.attempts) == (bells[0]["task"], 0), found)]
    if len(alike) > 1:
        look.served = alike[-1].owner
        look.lent += len({turn.id for turn in alike} - {row_id(bell["id"]) for bell in bells})
    return [turn.id for turn in alike] if len(alike) > 1 else []


def instead(app: Celery, bell: dict[str, Any]) -> tuple[str, str] | None:
    """For a bell whose own job is done: its job may have been the answer to another's bell, whose
    own job then has none.
    """
    look = _looks.get(queue := _queue_of(bell))
    if look is None or not look.lent:
        return None
    found = _next_owners(app, bell, queue)
    look.lent = look.lent - 1 if found else 0
    return found


def _preferred(app: Celery, bell: dict[str, Any], queue: str) -> tuple[str, str] | None:
    """One of a higher priority. The job that has to stand back is rung for again."""
    limits = _limits_of(bell)
    preferred = due.preferred_to(
        row_id(bell["id"]), queue=queue, tasks=_tasks(app), timelimit=limits
    )
    if preferred is None:
        return None
    id_, task, waits = preferred
    if waits:
        app.amqp.bell.ring([Ring(bell["id"], bell["task"], queue, limits)])
    return str(id_), task


def _next_owners(app: Celery, bell: dict[str, Any], queue: str) -> tuple[str, str] | None:
    """The first job of the next owner that has one, or the next one of whoever is served, as long
    as its weight lets it.
    """
    look, limits = _looks[queue], _limits_of(bell)
    if not look.coming or look.coming_under != limits:
        found = due.of_the_next_owners(
            queue,
            after=look.served,
            tasks=_tasks(app),
            timelimit=limits,
            number=max([1, *ledger_settings.WEIGHTS.values()]),
            since=look.low_water.mark,
        )
        if not found:  # of the owners after that one: next time after any
            look.served = token_hex()
            return None
        look.served, look.coming_under = found[0].owner, limits
        look.coming = [turn for turn in found if turn.owner == look.served]
    turn = look.coming.pop(0)
    return str(turn.id), turn.task


def _newest(queue: str) -> _Look:
    """At most TURN_LOOK_S old."""
    look = _looks.setdefault(queue, _Look(LowWater("due_at", queue)))
    if monotonic() - look.looked_at > ledger_settings.TURN_LOOK_S:
        look.priorities, look.owners = due.who_waits(queue, since=look.low_water.mark)
        look.looked_at = monotonic()
    return look


def _queue_of(bell: dict[str, Any]) -> str:
    return (bell.get("delivery_info") or {}).get("routing_key") or ""


def _limits_of(bell: dict[str, Any]) -> Any:
    return bell.get("timelimit") or (None, None)


def _tasks(app: Celery) -> list[str]:
    """Those whose jobs may have the turn: not those that begin within limits, or run in threads."""
    in_threads = threaded_tasks(app) if are_near() else {}
    return [
        name for name, task in app.tasks.items() if not task.is_limited and name not in in_threads
    ]


def forget_looks() -> None:
    """For tests, whose time does not pass."""
    _looks.clear()
