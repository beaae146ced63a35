"""Django's system checks of the ledger: its installation, its settings, and the options of
tasks.
"""

import inspect
import string
from collections.abc import Iterator
from typing import Any

from celery import Task, current_app
from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.db import connection

from celery_ledger.celery.installation import STEPS, celery_options
from celery_ledger.conf import ledger_settings
from celery_ledger.publishing.limits import wrong_limits

RETRY_OPTIONS = (
    "retry_backoff",
    "retry_backoff_max",
    "retry_jitter",
    "retry_kwargs",
    "dont_autoretry_for",
)
KNOWN_OPTIONS = {  # that a decorator may set beside the attributes of `app.Task`
    "app",
    "name",
    "run",
    "autoretry_for",
    *RETRY_OPTIONS,
    *(name for name, _ in Task.from_config),
}


def check_tasks(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """An error for each wrong option, or wrong combination, of a task of the installed apps."""
    current_app.loader.import_default_modules()
    installed = {config.name for config in apps.get_app_configs()}
    tasks = [
        task
        for _, task in sorted(current_app.tasks.items())
        if task.__module__.partition(".")[0] in installed
    ]
    return [
        Error(objection, obj=task.name, id="celery_ledger.E001")
        for task in tasks
        for objection in objections(task)
    ]


def check_settings(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """An error for each name in `LEDGER` that is no setting, and for numbers that do not fit each
    other.
    """
    numbers = ledger_settings
    wrong = [
        f"LEDGER names {name}, which is no number of the ledger." for name in numbers.unknown()
    ]
    if numbers.WORKER_SILENCE_S < 3 * numbers.CLOCK_INTERVAL_S:
        wrong.append(
            "WORKER_SILENCE_S must be at least three times CLOCK_INTERVAL_S, "
            "or a busy worker is lost."
        )
    if numbers.RING_CAP_S < numbers.RING_GRACE_S:
        wrong.append("RING_CAP_S must not be less than RING_GRACE_S.")
    if numbers.LEASE_GRACE_S <= 0:
        wrong.append("LEASE_GRACE_S must be positive, or a job is rescued while it may still run.")
    for owner, weight in numbers.WEIGHTS.items():
        if not (isinstance(weight, int) and 0 < weight <= numbers.WEIGHT_MAX):
            wrong.append(f"WEIGHTS[{owner!r}] must be a whole number, 1 to {numbers.WEIGHT_MAX}.")
    if numbers.DRAIN_S > numbers.STOP_S - numbers.STOP_SIGN_OFF_S:
        wrong.append(
            f"DRAIN_S must not be over {numbers.STOP_S - numbers.STOP_SIGN_OFF_S}, "
            "or the platform kills a worker before it signs off."
        )
    return [Error(objection, id="celery_ledger.E002") for objection in wrong]


def check_installation(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """An error for each part of the ledger that the Celery app lacks, with what to write."""
    missing = [_not_ours(part, option) for part, option in celery_options().items()]
    if not current_app.steps["worker"] >= set(STEPS):
        missing.append("Its workers have no clock: call install(app) after config_from_object().")
    if connection.vendor != "postgresql":
        missing.append(f"The ledger needs Postgres, and the database is {connection.vendor}.")
    return [Error(objection, id="celery_ledger.E003") for objection in missing if objection]


def _not_ours(part: str, option: Any) -> str | None:
    """A sentence, if the Celery app was made without this argument of its constructor."""
    actual = {
        "amqp": current_app.amqp_cls,
        "backend": current_app.conf.result_backend,
        "control": current_app.control_cls,
        "task_cls": current_app.task_cls,
        "tasks": option if isinstance(current_app.tasks, type(option)) else None,
        "fixups": [*current_app.fixups],
    }[part]
    if actual is option or actual == option or (part == "fixups" and set(option) <= set(actual)):
        return None
    return f"The Celery app was made without the ledger's {part}: Celery(..., **celery_options())."


def objections(task: Task) -> list[str]:
    """A sentence for each option, or combination of options, that is wrong in this task."""
    wrong = []
    if not task.time_limit or not task.soft_time_limit:
        wrong.append(
            "It needs a soft_time_limit and a time_limit: without them its lease has no end."
        )
    elif task.soft_time_limit >= task.time_limit:
        wrong.append(
            "Its soft_time_limit must be less than its time_limit, "
            "or it is killed before it can clean up."
        )
    elif task.time_limit > ledger_settings.STOP_S:
        wrong.append(
            f"Its time_limit is over {ledger_settings.STOP_S} s: every deploy would kill it. "
            "Split it into smaller jobs."
        )
    if task.acks_late:
        wrong.append(
            "acks_late has no meaning here: the row is what is acknowledged. Leave it out."
        )
    if getattr(task, "threaded", False) and getattr(task, "atomic", True):
        wrong.append("It is threaded, so it must be atomic=False: a transaction waits for nobody.")
    return [*wrong, *_objections_to_options(task)]


def _objections_to_options(task: Task) -> Iterator[str]:
    """A sentence for each single option that is wrong."""
    unknown = _unknown_fields(task)
    if unknown:
        yield f"Its key names {', '.join(sorted(unknown))}, which it does not take."
    misspelt = _unknown_options(task)
    if misspelt:
        yield f"It sets {', '.join(sorted(misspelt))}, which is no option of a task."
    idle = [name for name in RETRY_OPTIONS if hasattr(task, name)]
    if idle and not getattr(task, "autoretry_for", ()):
        yield f"It sets {', '.join(idle)} without autoretry_for, so nothing is ever retried by it."
    if task.serializer != "json":
        yield f"Its serializer is {task.serializer}, but a row holds JSON."
    queue, queues = getattr(task, "queue", None), current_app.amqp.queues.consume_from
    if queue and queue not in queues:
        yield (
            f"Its queue is {queue}, to which no worker listens; "
            f"there are {', '.join(sorted(queues))}."
        )
    for sentence in wrong_limits(task, inspect.signature(task.run)):
        yield f"Its {sentence}"


def _unknown_options(task: Task) -> set[str]:
    """The options that a decorator has set and that neither Celery nor the ledger knows."""
    own_class = getattr(task, "guarded_class", task.__class__)
    if "_decorated" not in vars(own_class):  # a class of the project's may have any attributes
        return set()
    own = {name for name in vars(own_class) if not name.startswith("_")}
    return own - set(dir(current_app.Task)) - KNOWN_OPTIONS


def _unknown_fields(task: Task) -> set[str]:
    """The names in the task's `key` that are no arguments of it."""
    key = getattr(task, "key", None) or ""
    fields = [field for _, field, _, _ in string.Formatter().parse(key) if field]
    names = {field.split(".")[0].split("[")[0] for field in fields}
    return names - set(inspect.signature(task.run).parameters)
