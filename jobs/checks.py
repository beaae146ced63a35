"""Numbers and options that depend on each other, checked at boot (`manage.py check`, and every release)."""

import inspect
import string
from typing import Any

from celery import Task, current_app
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error

STOP_S = 30  # what a platform leaves a dyno between SIGTERM and SIGKILL


def check_tasks(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """Each task of the installed apps: what was combined wrongly, in a sentence."""
    current_app.loader.import_default_modules()
    rooms = {config.name for config in apps.get_app_configs()}
    ours = [task for _, task in sorted(current_app.tasks.items()) if task.__module__.rpartition(".")[0] in rooms]
    return [Error(said, obj=task.name, id="jobs.E001") for task in ours for said in objections(task)]


def check_settings(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """The ledger's numbers against each other."""
    wrong = []
    if settings.JOBS_WORKER_SILENCE_S < 3 * settings.JOBS_CLOCK_INTERVAL_S:
        wrong.append(
            "JOBS_WORKER_SILENCE_S must be at least three times JOBS_CLOCK_INTERVAL_S, or a busy worker is lost."
        )
    if settings.JOBS_RING_CAP_S < settings.JOBS_RING_GRACE_S:
        wrong.append("JOBS_RING_CAP_S must not be less than JOBS_RING_GRACE_S.")
    if settings.JOBS_LEASE_GRACE_S <= 0:
        wrong.append("JOBS_LEASE_GRACE_S must be positive, or a job is rescued while it may still run.")
    return [Error(said, id="jobs.E002") for said in wrong]


def objections(task: Task) -> list[str]:
    """Why this task cannot be run as it stands."""
    said = []
    if not task.time_limit or not task.soft_time_limit:
        said.append("It needs a soft_time_limit and a time_limit: without them its lease has no end.")
    elif task.soft_time_limit >= task.time_limit:
        said.append("Its soft_time_limit must be less than its time_limit, or it is killed before it can clean up.")
    elif task.time_limit > STOP_S:
        said.append(f"Its time_limit is over {STOP_S} s: every deploy would kill it. Split it into smaller jobs.")
    if task.acks_late:
        said.append("acks_late has no meaning here: the row is what is acknowledged. Leave it out.")
    unknown = _unknown_fields(task)
    if unknown:
        said.append(f"Its key names {', '.join(sorted(unknown))}, which it does not take.")
    return said


def _unknown_fields(task: Task) -> set[str]:
    key = getattr(task, "key", None)
    named = {field.split(".")[0].split("[")[0] for _, field, _, _ in string.Formatter().parse(key or "") if field}
    return named - set(inspect.signature(task.run).parameters)
