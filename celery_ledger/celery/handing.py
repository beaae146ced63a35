"""Hands several bells to one process of the pool: the one that is delivered and those behind it in
its queue, if all are for one task, every other process is busy, and jobs of that task are short.

The further bells are popped from Redis; with another broker each bell is handed over by itself. A
bell that is lost on the way is like any lost bell: the clock rings for its job again.
"""

import json
import logging
from collections import deque
from statistics import median
from time import monotonic
from typing import Any, NamedTuple

from celery import Task
from celery.worker import state
from redis import RedisError

from celery_ledger.celery.consumer import has_processes
from celery_ledger.celery.transport import SturdyChannel
from celery_ledger.conf import ledger_settings
from celery_ledger.execution.batch import may_be_in_one

ALIKE = ("task", "timelimit", "batch")  # headers that bells must share to be handed over together

log = logging.getLogger(__name__)


class Pace:
    """How long jobs of one task took lately, in seconds.

    The main process measures it from a process's accepting of a job to its accepting of the next.
    """

    def __init__(self) -> None:
        number = ledger_settings.BATCH_REMEMBERED
        self._lately = deque([ledger_settings.BATCH_GUESS_S] * number, maxlen=number)

    @property
    def at_once(self) -> int:
        """How many jobs take half of BATCH_S together; 1 if any lately took longer than BATCH_S."""
        if max(self._lately) > ledger_settings.BATCH_S:
            return 1
        job_s = max(median(self._lately), ledger_settings.BATCH_QUICKEST_S)
        number = ledger_settings.BATCH_S / 2 / job_s
        return int(min(ledger_settings.BATCH_ATTEMPTS, max(1, number)))

    def note(self, job_s: float) -> None:
        self._lately.append(job_s)


class Accepted(NamedTuple):
    """The jobs of one task that a process has accepted, and works at until it accepts others."""

    pace: Pace  # of their task
    number: int  # of jobs
    since: float  # by the monotonic clock


_accepted: dict[int, Accepted] = {}  # by pid


def handler_of_several(task: Task, hand_to_pool: Any, consumer: Any) -> Any:
    """The consumer's handler of this task's messages. It adds the bells behind a message to it (in
    its header `also`) and hands it to the pool by `hand_to_pool`, Celery's own handler.

    For a task whose jobs may not share a transaction it is `hand_to_pool` itself.
    """
    if not _may_stand_together(task, consumer):
        return hand_to_pool
    pace = Pace()

    def hand_with_others(message: Any, body: Any, ack: Any, *rest: Any, **named: Any) -> None:
        headers, also = message.headers, []
        if pace.at_once > 1 and headers.get("batch") is True and _others_are_busy(consumer):
            also = _bells_behind(message, pace.at_once - 1)
        headers["also"] = also

        def acknowledge(*args: Any) -> None:
            ack(*args)
            _note_acceptance(headers.get("id"), pace, 1 + len(also))

        hand_to_pool(message, body, acknowledge, *rest, **named)

    return hand_with_others


def _note_acceptance(id_: str | None, pace: Pace, number: int) -> None:
    """Note the pace of what this message's process did before, and that it begins this now.

    Celery acknowledges a message when a process has accepted it; so this is called then.
    """
    pid = getattr(state.requests.get(id_), "worker_pid", None)
    if pid is not None:
        now, before = monotonic(), _accepted.get(pid)
        if before is not None:
            before.pace.note((now - before.since) / before.number)
        _accepted[pid] = Accepted(pace, number, now)


def _may_stand_together(task: Task, consumer: Any) -> bool:
    is_on = ledger_settings.BATCH_ATTEMPTS > 1 and has_processes(consumer.controller)
    return is_on and may_be_in_one(task)


def _others_are_busy(consumer: Any) -> bool:
    return bool(len(state.reserved_requests) >= consumer.pool.num_processes - 1)


def _bells_behind(message: Any, number: int) -> list[str]:
    """The ids of the jobs that the next bells of the message's queue are for.

    Up to `number` messages are popped; those that are not alike are put back. None is popped for
    BELL_REST_S after Redis has failed.
    """
    channel, queue = message.channel, message.delivery_info["routing_key"]
    if not isinstance(channel, SturdyChannel) or monotonic() < channel.takes_none_until:
        return []
    ids, others = [], []
    try:
        for raw in channel.take(queue, number):
            id_ = _rung_for(raw, like=message.headers)
            if id_ is None:
                others.append(raw)
            else:
                ids.append(id_)
        channel.put_back(queue, others)
    except RedisError as exc:
        log.info("Bells are handed over one by one for a while, the broker said: %s", exc)
        channel.takes_none_until = monotonic() + ledger_settings.BELL_REST_S
    return ids


def _rung_for(raw: bytes, *, like: dict[str, Any]) -> str | None:
    """The id of the job, if this message is a bell whose headers ALIKE are those of `like`; None
    for any other message.
    """
    try:
        headers = json.loads(raw)["headers"]
        alike = all(headers.get(name) == like.get(name) for name in ALIKE)
        return headers["id"] if alike and isinstance(headers["id"], str) else None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None  # no bell: the consumer drops it when it is delivered
