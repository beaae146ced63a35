"""Small programs of one call each, with the tasks of an app, and the outcome of each."""

import re
from collections.abc import Callable
from typing import Any

from celery import Celery, Task, chord, signals
from celery.result import AsyncResult

TASKS = "programs."
ENDS_S = 6.0
UUIDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class NeedsAWord(Exception):
    def __init__(self, *, why: str) -> None:
        super().__init__(why)


class NotThere(Exception):
    """An exception made of a code and a text."""


def define_tasks(app: Celery) -> None:
    for body in (request, retry, needs_a_word, not_there, total, same):
        options = {"max_retries": 1, "soft_time_limit": 5, "time_limit": 10}
        define = app.task(
            name=TASKS + body.__name__, bind=True, lazy=False, shared=False, **options
        )
        define(body)


def request(self: Task, *args: Any, **kwargs: Any) -> dict[str, Any]:
    about = self.request
    own_names = ("argsrepr", "kwargsrepr", "headers", "shadow", "stamps", "retries", "group")
    return {
        **{name: getattr(about, name) for name in own_names},
        "priority": about.delivery_info["priority"],
        "queue": about.delivery_info["routing_key"],
        "reply_to": about.reply_to if about.reply_to == "mine" else None,
        "is_known_by_its_id": about.correlation_id == about.id,
        "caller": str(about.origin)[:3],
    }


def same(self: Task, number: int) -> int:
    return number


def retry(self: Task, **options: Any) -> str:
    if not self.request.retries:
        raise self.retry(countdown=0, **options)
    return "at last"


def needs_a_word(self: Task) -> None:
    raise NeedsAWord(why="because")


def not_there(self: Task) -> None:
    raise NotThere(404, "gone")


def total(self: Task, numbers: list[int]) -> int:
    return sum(numbers)


Call = Callable[[dict[str, Task]], AsyncResult]
PROGRAMS: dict[str, Call] = {
    "a request": lambda task: task["request"].delay(1, name="a"),
    "a request of a text": lambda task: task["request"].delay("ü" * 2000),
    "a request with a priority": lambda task: task["request"].apply_async(priority=3),
    "a request under a shadow": lambda task: task["request"].apply_async(shadow="other"),
    "a request with headers": lambda task: task["request"].apply_async(headers={"tenant": 17}),
    "a request whose arguments are not to be shown": lambda task: task["request"].apply_async(
        ("secret",), {"key": "secret"}, argsrepr="(…)", kwargsrepr="{…}"
    ),
    "a request with a queue of replies": lambda task: task["request"].apply_async(reply_to="mine"),
    "a request of a part": lambda task: chord([task["same"].si(1)], task["request"].s()).delay(),
    "a retry": lambda task: task["retry"].delay(),
    "a retry with a header": lambda task: task["retry"].delay(headers={"tenant": 17}),
    "a retry that comes too late": lambda task: task["retry"].delay(expires=-1),
    "an error of a keyword": lambda task: task["needs_a_word"].delay(),
    "an error": lambda task: task["not_there"].delay(),
    "a chord whose part fails": lambda task: chord(
        [task["not_there"].si(), task["same"].si(1)], task["total"].s()
    ).delay(),
}


def outcome(app: Celery, name: str, work_off: Callable[[], Any] | None = None) -> dict[str, Any]:
    """What the caller of a program sees, and how often Celery's publish signals were sent."""
    published = {"before": 0, "after": 0}

    def before(**_: Any) -> None:
        published["before"] += 1

    def after(**_: Any) -> None:
        published["after"] += 1

    tasks = {one.removeprefix(TASKS): task for one, task in app.tasks.items()}
    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after)
    try:
        promised = PROGRAMS[name](tasks)
        if work_off:
            work_off()
        promised.get(timeout=ENDS_S, propagate=False)
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
    result, trace = promised.result, promised.traceback
    return {
        "state": promised.state,
        "result": UUIDS.sub("ID", repr(result)),
        "args": UUIDS.sub("ID", repr(getattr(result, "args", None))),
        "traceback": bool(trace),
        "published": published,
    }
