"""Celery's events of jobs, for `celery events` and Flower, from a worker with `-E`.

The process that makes an attempt sends them. Celery's own come from the worker's main process,
which sees only bells, and a bell may be answered with another job, with several, or with none.
"""

from collections.abc import Iterable
from time import time
from typing import Any

from celery.utils.saferepr import saferepr
from django.db import connection

from celery_ledger.errors import LeaseLost
from celery_ledger.models import Job
from celery_ledger.models.error import describe

KINDS = {  # of an event, by the outcome of an attempt (`execution.log_entry`)
    "done": "task-succeeded",
    "retry": "task-retried",
    "interrupted": "task-retried",
    "dead": "task-failed",
    "cancelled": "task-revoked",
}
_hostname: str | None = None  # the worker's name; None while no events are sent


def send_as(hostname: str | None) -> None:
    """Let this process, and those forked from it, send events as this worker; None: send none."""
    global _hostname  # noqa: PLW0603 - a process has one identity, set before it forks
    _hostname = hostname


def received(current: Any, request: dict[str, Any]) -> None:
    """Note that the attempt's job was claimed. The event is sent with the next one."""
    about = {name: request.get(name) for name in ("root_id", "parent_id", "eta", "expires")}
    texts = {"args": request["argsrepr"], "kwargs": request["kwargsrepr"]}
    name = request.get("shadow") or current.task.name
    retries = current.claim.retries
    _note(current, "task-received", **about, **texts, name=name, retries=retries)


def started(current: Any) -> None:
    """Send that the attempt's body begins."""
    _note(current, "task-started")
    _send(current)


def ended(current: Any, outcome: str, error: BaseException | None, runtime_s: float) -> None:
    """Send that the attempt ended, with this outcome of `execution.log_entry`."""
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
    _send(current)


def lost(app: Any, losses: Iterable[tuple[Job, dict[str, Any], bool]]) -> None:
    """Send the ends of rescued jobs: each a job, the error in its row, and whether it is dead. The
    rescuer sends them, since the process that ran the job is gone.
    """
    messages = [
        ("task-failed" if is_dead else "task-retried", {"uuid": str(job.pk), **_of(error)})
        for job, error, is_dead in losses
        if _wants_events(app.tasks.get(job.task))
    ]
    if messages and _hostname is not None:
        app.amqp.bell.send_events(_hostname, messages)


def _of(error: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event that describe this error of a row."""
    exception = f"{error['type']}({error['message']!r})"
    return {"exception": exception, "traceback": error.get("traceback")}


def _note(current: Any, kind: str, **about: Any) -> None:
    """Keep an event of this kind with the attempt, unless no events are to be sent of its task."""
    if _hostname is not None and _wants_events(current.task):
        about |= {"uuid": str(current.claim.id), "timestamp": time()}
        current.events.append((kind, about))


def _wants_events(task: Any) -> bool:
    return task is None or bool(task.guarded_class.send_events)


def _send(current: Any) -> None:
    """Send the attempt's noted events; not inside the transaction of a batch, in which no socket
    may be opened: there they are sent with its end.
    """
    if _hostname is not None and current.events and not connection.in_atomic_block:
        current.task.app.amqp.bell.send_events(_hostname, current.events)
        current.events = []
