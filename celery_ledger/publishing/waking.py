"""The way to the process of the threads from every process of its worker: a pipe, older than all of
them.
"""

import contextlib
import logging
import os
from typing import Any

from celery import Celery, Task

log = logging.getLogger(__name__)

WAKE, LEAVE = b"w", b"q"
_mouth: int | None = None


def speak_into(mouth: int | None) -> None:
    """This process and those forked from it reach the threads of their worker by this pipe."""
    global _mouth  # noqa: PLW0603 - a worker has one such process at a time
    _mouth = mouth


def are_near() -> bool:
    """Whether this process belongs to a worker with such a process."""
    return _mouth is not None


def say(word: bytes) -> None:
    """Write this word into the pipe to the process of threads; nothing where there is none: in a
    web process, or beside a pool of another kind.
    """
    if _mouth is not None:
        with contextlib.suppress(BlockingIOError):  # then it has enough to hear
            os.write(_mouth, word)


def threaded_tasks(app: Celery) -> dict[str, Task]:
    """Those whose jobs run in threads. A rate limit is kept by way of the pool."""
    return {
        name: task
        for name, task in app.tasks.items()
        if getattr(task, "threaded", False) and not task.rate_limit
    }


def by_bell(task: Any, by_pool: Any, consumer: Any) -> Any:
    """What a worker does when a bell of a threaded task rings: it wakes the process of the threads,
    which looks for itself. A job that was lost beside others SHARED_LOSSES times runs in a process
    of the pool: who of many took the process of the threads down is never known, and there it is.
    """
    if not are_near() or task.name not in threaded_tasks(consumer.app):
        return by_pool

    def wake(message: Any, body: Any, ack: Any, *rest: Any, **named: Any) -> None:
        if message.headers.get("alone"):
            by_pool(message, body, ack, *rest, **named)
        else:
            ack(log, consumer.connection_errors)
            say(WAKE)

    return wake
