"""The pipe by which every process of a worker wakes the worker's process of threads. It is made
before any of these processes is forked.
"""

import contextlib
import logging
import os
from typing import Any

from celery import Celery, Task

log = logging.getLogger(__name__)

WAKE, LEAVE = b"w", b"q"  # the messages: look for due jobs; end when the calls have ended
_write_end: int | None = None  # of the pipe, a file descriptor


def use_pipe(write_end: int | None) -> None:
    """Let this process, and those forked from it, reach their worker's threads by this pipe."""
    global _write_end  # noqa: PLW0603 - a worker has one such process at a time
    _write_end = write_end


def are_near() -> bool:
    """Whether this process belongs to a worker that has a process of threads."""
    return _write_end is not None


def say(word: bytes) -> None:
    """Send WAKE or LEAVE to the process of threads. Nothing happens where there is none: in a web
    process, or beside a pool that is not of processes.
    """
    if _write_end is not None:
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes it as well
            os.write(_write_end, word)


def threaded_tasks(app: Celery) -> dict[str, Task]:
    """The tasks whose jobs run in threads, by name. One with a `rate_limit` does not, although it
    is `threaded`: that limit is kept in the pool only.
    """
    return {
        name: task
        for name, task in app.tasks.items()
        if getattr(task, "threaded", False) and not task.rate_limit
    }


def handler_of_bells(task: Any, hand_to_pool: Any, consumer: Any) -> Any:
    """The consumer's handler of this task's messages: for a threaded task it wakes the process of
    threads, which looks for due jobs by itself; for any other it is `hand_to_pool`.

    A threaded job that was lost beside others SHARED_LOSSES times goes to the pool, where it is
    alone in its process: only so can it be known whether it takes its process down.
    """
    if not are_near() or task.name not in threaded_tasks(consumer.app):
        return hand_to_pool

    def wake(message: Any, body: Any, ack: Any, *rest: Any, **named: Any) -> None:
        if message.headers.get("alone"):
            hand_to_pool(message, body, ack, *rest, **named)
        else:
            ack(log, consumer.connection_errors)
            say(WAKE)

    return wake
