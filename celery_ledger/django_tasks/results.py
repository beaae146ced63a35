"""A row of the ledger as Django's result."""

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

HEADER = "django_task"  # what a call says otherwise than the function: priority, queue_name, …


def header(task: "AnyTask", *, enqueued_at: datetime) -> dict[str, Any]:
    """What this call says otherwise than Django's defaults, for whoever asks for its result."""
    options = {
        "priority": task.priority if task.priority != DEFAULT_TASK_PRIORITY else None,
        "queue_name": task.queue_name if task.queue_name != DEFAULT_TASK_QUEUE_NAME else None,
        "run_after": task.run_after and task.run_after.isoformat(),
        "backend": task.backend,
        "enqueued_at": enqueued_at.isoformat(),
    }
    return {HEADER: {name: value for name, value in options.items() if value is not None}}


def as_called(task: "AnyTask", headers: dict[str, Any] | None) -> tuple["AnyTask", datetime | None]:
    """The task with the options of this call, and when it was enqueued."""
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
    """The result of the job with this id, if it is one of a function of Django's."""
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
    """A row as Django's result."""
    called, enqueued_at = as_called(task, job.envelope.get("own_headers"))
    status = {State.WAITING: TaskResultStatus.READY, State.RUNNING: TaskResultStatus.RUNNING}
    status[State.DONE] = TaskResultStatus.SUCCESSFUL
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
    """Of each attempt that ended so; the newest has its traceback."""
    ends = [entry["error"] for entry in job.history]
    errors = [*ends[:-1], {**ends[-1], **(job.error or {})}] if ends else []
    return [
        TaskError(
            exception_class_path=f"{error.get('module', 'builtins')}.{error['type']}",
            traceback=error.get("traceback", ""),
        )
        for error in errors
    ]


def _workers(job: Job) -> list[str]:
    """One for each attempt, the newest last; nobody knows those before its history."""
    workers = [str(entry["worker"]) for entry in job.history if entry["worker"]]
    if len(workers) < job.attempts:
        workers.append(str(job.worker))
    nameless = ["?"] * (job.attempts - len(workers))
    return [*nameless, *workers][-job.attempts :] if job.attempts else []
