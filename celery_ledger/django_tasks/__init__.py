"""Django's own tasks on the ledger: `TASKS = {"default": {"BACKEND":
"celery_ledger.django_tasks.LedgerBackend"}}`.

A function decorated with `django.tasks.task` becomes a job like any other: a row in the caller's
transaction, its effects and "done" in one commit, tried again after a lost worker. Beside Django's
own, the decorator takes what a task of the ledger may have:

`atomic` (default True): its effects commit together with "done".

`key`: calls with the same key are the same job, e.g. `key="invoice:{order_id}"`.

`max_attempts` (default 1): how often its body is tried if it raises, after growing pauses.

`rate_limit`: how often jobs begin, over all workers: "10/m", or by key "shop:{shop_id}=10/m".

`concurrency`: how many run at once, over all workers: 2, or by key "shop:{shop_id}=2".

`time_limit`: the seconds after which it is stopped.

`queue`: the queue of the ledger. Otherwise it is the one of `queue_name`, or the app's default
queue if that is "default".

Workers know the functions in `tasks.py` modules and in those that CELERY_IMPORTS names.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery import current_app
from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.tasks import Task, TaskResult, TaskResultStatus
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import DEFAULT_TASK_QUEUE_NAME
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.utils import timezone
from django.utils.json import normalize_json

from celery_ledger.publishing.limits import wrong_limits

if TYPE_CHECKING:
    type AnyTask = Task[..., Any]
    type AnyResult = TaskResult[..., Any]


unregistered: list["AnyTask"] = []  # functions of modules that were imported before the models


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableTask(Task):  # type: ignore[type-arg]  # not generic at run time
    """Django's task, with the ledger's options."""

    key: str | None = None
    atomic: bool = True
    max_attempts: int | None = None
    rate_limit: str | None = None
    concurrency: str | int | None = None
    time_limit: float | None = None
    queue: str | None = None


class LedgerBackend(BaseTaskBackend):
    """The backend for `TASKS`, which makes each call a job of the ledger."""

    task_class = DurableTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def validate_task(self, task: "AnyTask") -> None:
        """Check the task's options and register it. Raises InvalidTask."""
        super().validate_task(task)
        objection = next(_objections(task), None)
        if objection:
            raise InvalidTask(objection)
        if apps.models_ready:
            self._register(task)
        else:
            unregistered.append(task)

    def _register(self, task: "AnyTask") -> Any:
        from celery_ledger.django_tasks.function import register  # noqa: PLC0415 - needs the models

        return register(task)

    def enqueue(  # type: ignore[override]  # it cannot name the type of the result
        self, task: "AnyTask", args: Any, kwargs: Any
    ) -> "AnyResult":
        """Promise a job in the caller's transaction and return its result. With a `key` it is the
        result of the first job of that key.
        """
        from celery_ledger.django_tasks.results import header  # noqa: PLC0415 - needs the models

        self.validate_task(task)
        now = timezone.now()
        promised = self._register(task).apply_async(
            normalize_json(list(args)),
            normalize_json(kwargs),
            eta=task.run_after,
            priority=task.priority,
            headers=header(task, enqueued_at=now),
            **_queue(task),
        )
        if getattr(task, "key", None):
            first = self.get_result(promised.id)
            if first.enqueued_at == now:  # the first job is the one of this call
                task_enqueued.send(type(self), task_result=first)
            return first
        result: AnyResult = TaskResult(
            task=task,
            id=promised.id,
            status=TaskResultStatus.READY,
            enqueued_at=now,
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> "AnyResult":
        """The result of this id. Raises TaskResultDoesNotExist."""
        from celery_ledger.django_tasks.results import find  # noqa: PLC0415 - needs the models

        result = find(str(result_id))
        if result is None:
            raise TaskResultDoesNotExist(result_id)
        return result

    def check(self, **options: Any) -> list[CheckMessage]:
        """Django's system check of the backend: an error for each queue that no worker serves."""
        # needs the models
        from celery_ledger.django_tasks.function import known_functions  # noqa: PLC0415

        wrong = []
        if not apps.is_installed("celery_ledger"):
            wrong.append(
                "The backend of Django's tasks is celery_ledger's, which is not installed."
            )
        listened = current_app.amqp.queues.consume_from
        wrong += [
            f"TASKS names the queue {name}, to which no worker listens."
            for name in sorted(self.queues - {DEFAULT_TASK_QUEUE_NAME} - set(listened))
        ]
        current_app.loader.import_default_modules()
        for task in known_functions():
            name = getattr(task, "queue", None)
            if name and name not in listened:
                wrong.append(
                    f"{task.module_path} is for the queue {name}, to which no worker listens."
                )
        return [Error(sentence, id="celery_ledger.E004") for sentence in wrong]


def _objections(task: "AnyTask") -> Iterator[str]:
    """A sentence for each option that is wrong."""
    attempts, limit = getattr(task, "max_attempts", None), getattr(task, "time_limit", None)
    if attempts is not None and not (isinstance(attempts, int) and attempts >= 1):
        yield f"max_attempts must be a whole number from 1 on, not {attempts!r}."
    if limit is not None and not (isinstance(limit, (int, float)) and limit > 0):
        yield f"time_limit must be a number of seconds, not {limit!r}."
    yield from wrong_limits(task, signature_of(task))


def signature_of(task: "AnyTask") -> inspect.Signature:
    """The signature of a call: that of the function without the context that it may take."""
    signature = inspect.signature(task.func)
    parameters = list(signature.parameters.values())[1 if task.takes_context else 0 :]
    return signature.replace(parameters=parameters)


def _queue(task: "AnyTask") -> dict[str, str]:
    """The option `queue` of the call, unless it is the app's default queue."""
    name = getattr(task, "queue", None)
    if name is None and task.queue_name != DEFAULT_TASK_QUEUE_NAME:
        name = task.queue_name
    return {"queue": name} if name else {}
