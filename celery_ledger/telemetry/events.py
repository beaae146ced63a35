"""Celery's events of jobs, for `celery events` and Flower, from a worker with `-E`.

Whoever makes an attempt tells them. Celery's own come from the worker's main process, which sees
bells: one may be answered with another's job, with several, or with none.
"""

from collections.abc import Iterable
from time import time
from typing import Any

from celery.utils.saferepr import saferepr
from django.db import connection

from celery_ledger.errors import LeaseLost
from celery_ledger.models import Job
from celery_ledger.models.error import describe

KINDS = {  # of the end of an attempt, by what the log calls it
    "done": "task-succeeded",
    "retry": "task-retried",
    "interrupted": "task-retried",
    "dead": "task-failed",
    "cancelled": "task-revoked",
}
_hostname: str | None = None


def tell_as(hostname: str | None) -> None:
    """This process, and those forked from it, tell of their attempts as this worker; None: they do
    not.
    """
    global _hostname  # noqa: PLW0603 - a process has one identity, set before it forks
    _hostname = hostname


def received(current: Any, request: dict[str, Any]) -> None:
    """The job was claimed. It is told with what happens next."""
    about = {name: request.get(name) for name in ("root_id", "parent_id", "eta", "expires")}
    texts = {"args": request["argsrepr"], "kwargs": request["kwargsrepr"]}
    name = request.get("shadow") or current.task.name
    retries = current.claim.retries
    _note(current, "task-received", **about, **texts, name=name, retries=retries)


def started(current: Any) -> None:
    _note(current, "task-started")
    _tell(current)


def ended(current: Any, outcome: str, error: BaseException | None, runtime_s: float) -> None:
    kind = KINDS.get(outcome)
    if kind is None or _hostname is None or isinstance(error, LeaseLost):
        return
    if kind == "task-succeeded":
        text = saferepr(current.result, current.task.resultrepr_maxsize)
        about: dict[str, Any] = {"result": text, "runtime": runtime_s}
    elif kind == "task-revoked":
        about = {"expired": current.body is None, "terminated": False, "signum": None}
    else:
        about = _of(describe(error)) if error else {}
    _note(current, kind, **about)
    _tell(current)


def lost(app: Any, losses: Iterable[tuple[Job, dict[str, Any], bool]]) -> None:
    """Jobs that were taken from a process or a worker, why, and whether they are dead of it: told
    by whoever found that out.
    """
    messages = [
        ("task-failed" if is_dead else "task-retried", {"uuid": str(job.pk), **_of(error)})
        for job, error, is_dead in losses
        if _wants_events(app.tasks.get(job.task))
    ]
    if messages and _hostname is not None:
        app.amqp.bell.tell(_hostname, messages)


def _of(error: dict[str, Any]) -> dict[str, Any]:
    """What an event says of an error that a row keeps, in Celery's names."""
    exception = f"{error['type']}({error['message']!r})"
    return {"exception": exception, "traceback": error.get("traceback")}


def _note(current: Any, kind: str, **about: Any) -> None:
    if _hostname is not None and _wants_events(current.task):
        about |= {"uuid": str(current.claim.id), "timestamp": time()}
        current.events.append((kind, about))


def _wants_events(task: Any) -> bool:
    return task is None or bool(task.guarded_class.send_events)


def _tell(current: Any) -> None:
    """In a transaction, of several attempts, no socket is opened: it is told with their end."""
    if _hostname is not None and current.events and not connection.in_atomic_block:
        current.task.app.amqp.bell.tell(_hostname, current.events)
        current.events = []
