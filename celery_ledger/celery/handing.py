"""Bells that wait behind one which is handed to a process of the pool are handed to it as well, if
they ring for the same task, every other process is busy, and such jobs are short.

It takes them out of a broker that is Redis. They are what they were: nobody answers for one that is
lost, its job is rung for again.
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

ALIKE = ("task", "timelimit", "batch")

log = logging.getLogger(__name__)


class Pace:
    """How long a job of one task has taken lately, as far as the main process can see it: from when
    a process accepts it to when that process accepts the next.
    """

    def __init__(self) -> None:
        number = ledger_settings.BATCH_REMEMBERED
        self._lately = deque([ledger_settings.BATCH_GUESS_S] * number, maxlen=number)

    @property
    def at_once(self) -> int:
        """So many take half of BATCH_S, if none lately took longer than that."""
        if max(self._lately) > ledger_settings.BATCH_S:
            return 1
        job_s = max(median(self._lately), ledger_settings.BATCH_QUICKEST_S)
        number = ledger_settings.BATCH_S / 2 / job_s
        return int(min(ledger_settings.BATCH_ATTEMPTS, max(1, number)))

    def note(self, job_s: float) -> None:
        self._lately.append(job_s)


class Accepted(NamedTuple):
    """What a process does now: so many jobs of a task, since when."""

    pace: Pace
    number: int
    since: float


_accepted: dict[int, Accepted] = {}  # by pid


def several(task: Task, by_pool: Any, consumer: Any) -> Any:
    """Celery's handler of this task's messages, which hands those that wait behind one to the same
    process; `by_pool`, Celery's own, for a task whose jobs share nothing.
    """
    if not _may_stand_together(task, consumer):
        return by_pool
    pace = Pace()

    def hand_to_one(message: Any, body: Any, ack: Any, *rest: Any, **named: Any) -> None:
        headers, also = message.headers, []
        if pace.at_once > 1 and headers.get("batch") is True and _others_are_busy(consumer):
            also = _bells_behind(message, pace.at_once - 1)
        headers["also"] = also

        def acknowledge(*args: Any) -> None:
            ack(*args)
            _note_acceptance(headers.get("id"), pace, 1 + len(also))

        by_pool(message, body, acknowledge, *rest, **named)

    return hand_to_one


def _note_acceptance(id_: str | None, pace: Pace, number: int) -> None:
    """Celery acknowledges a message when a process has accepted it."""
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
    """The ids that up to so many of the next bells of its queue ring for. Others are put back."""
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
    """The id of a bell for the same task, under the same limits; None for any other message."""
    try:
        headers = json.loads(raw)["headers"]
        alike = all(headers.get(name) == like.get(name) for name in ALIKE)
        return headers["id"] if alike and isinstance(headers["id"], str) else None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None  # whoever takes it drops it
