"""Makes Django's results of rows of the ledger."""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.tasks import Task, TaskResult, TaskResultStatus
from django.tasks.base import DEFAULT_TASK_PRIORITY, DEFAULT_TASK_QUEUE_NAME, TaskError
from django.utils.module_loading import import_string

from celery_ledger.models import Job, State
from celery_ledger.models.ids import is_named, row_id

if TYPE_CHECKING:
    from celery_ledger.django_tasks import AnyResult, AnyTask

HEADER = "django_task"  # the header of a job with the options of its call


def header(task: "AnyTask", *, enqueued_at: datetime) -> dict[str, Any]:
    """The header that keeps the options of this call which are not Django's defaults, so that its
    result can show them.
    """
    options = {
        "priority": task.priority if task.priority != DEFAULT_TASK_PRIORITY else None,
        "queue_name": task.queue_name if task.queue_name != DEFAULT_TASK_QUEUE_NAME else None,
        "run_after": task.run_after and task.run_after.isoformat(),
        "backend": task.backend,
        "enqueued_at": enqueued_at.isoformat(),
    }
    return {HEADER: {name: value for name, value in options.items() if value is not None}}


def as_called(task: "AnyTask", headers: dict[str, Any] | None) -> tuple["AnyTask", datetime | None]:
    """The task with the options of a call, from the call's headers; and when it was enqueued."""
    options = {
        "priority": DEFAULT_TASK_PRIORITY,
        "queue_name": DEFAULT_TASK_QUEUE_NAME,
        "enqueued_at": None,
        "run_after": None,
        **((headers or {}).get(HEADER) or {}),
    }
    for name in ("run_after", "enqueued_at"):
        options[name] = options[name] and datetime.fromisoformat(options[name])
    enqueued_at = options.pop("enqueued_at")
    return replace(task, **options), enqueued_at


def find(id_: str) -> "AnyResult | None":
    """The result of the job of this id; None if there is none, or it is of no function of
    Django's.
    """
    job = None if is_named(id_) else Job.objects.filter(pk=row_id(id_)).first()
    task = _function(job.task) if job else None
    return _result(job, task) if job and task else None


def _function(path: str) -> "AnyTask | None":
    try:
        task = import_string(path)
    except ImportError:
        return None
    return task if isinstance(task, Task) else None


def _result(job: Job, task: "AnyTask") -> "AnyResult":
    called, enqueued_at = as_called(task, job.envelope.get("own_headers"))
    status = {
        State.WAITING: TaskResultStatus.READY,
        State.RUNNING: TaskResultStatus.RUNNING,
        State.DONE: TaskResultStatus.SUCCESSFUL,
    }
    args, kwargs = job.args
    result: AnyResult = TaskResult(
        task=called,
        id=str(job.pk),
        status=status.get(State(job.state), TaskResultStatus.FAILED),
        enqueued_at=enqueued_at or job.created_at,
        started_at=job.started_at,
        last_attempted_at=job.started_at,
        finished_at=job.finished_at,
        args=args,
        kwargs=kwargs,
        backend=called.backend,
        errors=_errors(job),
        worker_ids=_workers(job),
    )
    object.__setattr__(result, "_return_value", job.result)
    return result


def _errors(job: Job) -> list[TaskError]:
    """The error of each attempt in the job's history; only the newest one has a traceback."""
    errors = [entry["error"] for entry in job.history]
    if errors:
        errors[-1] = {**errors[-1], **(job.error or {})}
    return [
        TaskError(
            exception_class_path=f"{error.get('module', 'builtins')}.{error['type']}",
            traceback=error.get("traceback", ""),
        )
        for error in errors
    ]


def _workers(job: Job) -> list[str]:
    """The worker of each attempt, the newest last; "?" for attempts that the history has no
    more.
    """
    workers = [str(entry["worker"]) for entry in job.history if entry["worker"]]
    if len(workers) < job.attempts:
        workers.append(str(job.worker))
    nameless = ["?"] * (job.attempts - len(workers))
    return [*nameless, *workers][-job.attempts :] if job.attempts else []
