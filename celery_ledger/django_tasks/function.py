"""Makes a Celery task of a function decorated with `django.tasks.task`: its options, its body, and
hooks that send Django's signals.
"""

from typing import TYPE_CHECKING, Any

from celery import shared_task
from django.tasks import TaskContext, TaskResult, TaskResultStatus
from django.tasks.base import TaskError
from django.tasks.signals import task_finished, task_started
from django.utils import timezone
from django.utils.json import normalize_json

from celery_ledger.celery.task import LedgerTask
from celery_ledger.conf import ledger_settings
from celery_ledger.django_tasks import LedgerBackend, signature_of, unregistered
from celery_ledger.django_tasks.results import as_called
from celery_ledger.execution.current import current_claim

if TYPE_CHECKING:
    from celery_ledger.django_tasks import AnyResult, AnyTask

_registered: dict[Any, Any] = {}  # the Celery tasks by function


class OfDjango(LedgerTask):
    """The class of these Celery tasks. Its hooks send Django's signals."""

    abstract = True

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self.request.began = timezone.now()
        task_started.send_robust(
            LedgerBackend, task_result=self.result_of(TaskResultStatus.RUNNING)
        )

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        result = self.result_of(TaskResultStatus.SUCCESSFUL)
        object.__setattr__(result, "_return_value", retval)
        task_finished.send_robust(LedgerBackend, task_result=result)

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        result = self.result_of(TaskResultStatus.FAILED)
        result.errors.append(TaskError(exception_class_path=_path(exc), traceback=str(einfo)))
        task_finished.send_robust(LedgerBackend, task_result=result)

    def result_of(self, status: TaskResultStatus) -> "AnyResult":
        """Django's result of the job of the current attempt, made without a query."""
        claim, now = current_claim(), timezone.now()
        is_finished = status in (TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED)
        task, enqueued_at = as_called(self.run.django_task, self.request.headers)
        return TaskResult(
            task=task,
            id=self.request.id,
            status=status,
            enqueued_at=enqueued_at,
            started_at=self.request.began,
            last_attempted_at=self.request.began,
            finished_at=now if is_finished else None,
            args=list(claim.args),
            kwargs=claim.kwargs,
            backend=task.backend,
            errors=[],
            worker_ids=[str(self.request.hostname)] * claim.attempts,
        )


def register(task: "AnyTask") -> Any:
    """The Celery task of this function; it is made at the first call."""
    registered = _registered.get(task.func)
    if registered is None:
        registered = _registered[task.func] = _celery_task(task)
    return registered


def known_functions() -> list["AnyTask"]:
    """All functions that are registered, as Django's tasks."""
    return [celery_task.run.django_task for celery_task in _registered.values()]


def register_the_early_ones() -> None:
    """Register the functions of modules that were imported before the models."""
    while unregistered:
        register(unregistered.pop())


def _celery_task(task: "AnyTask") -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        first = (_context(celery_task),) if task.takes_context else ()
        return normalize_json(task.call(*first, *args, **kwargs))

    run.__name__, run.__module__, run.__doc__ = task.name, task.func.__module__, task.func.__doc__
    run.__signature__ = signature_of(task)  # type: ignore[attr-defined]
    run.django_task = task  # type: ignore[attr-defined]
    celery_task = shared_task(name=task.module_path, base=OfDjango, **_options(task))(run)
    return celery_task


def _context(celery_task: Any) -> "TaskContext[..., Any]":
    return TaskContext(task_result=celery_task.result_of(TaskResultStatus.RUNNING))


def _options(task: "AnyTask") -> dict[str, Any]:
    """The options of the Celery task."""
    limit, attempts = getattr(task, "time_limit", None), getattr(task, "max_attempts", None)
    options = {
        "key": getattr(task, "key", None),
        "atomic": getattr(task, "atomic", True),
        "rate_limit": getattr(task, "rate_limit", None),
        "concurrency": getattr(task, "concurrency", None),
    }
    if limit:
        soft = limit * ledger_settings.DJANGO_SOFT_SHARE
        options |= {"time_limit": limit, "soft_time_limit": soft}
    if attempts and attempts > 1:
        retried = {"autoretry_for": (Exception,), "max_retries": attempts - 1}
        options |= {**retried, "retry_backoff": ledger_settings.DJANGO_BACKOFF_S}
    return options


def _path(exc: BaseException) -> str:
    return f"{type(exc).__module__}.{type(exc).__qualname__}"
