"""Checks of the work: that somebody does it, and what stays undone."""

from collections import Counter
from datetime import timedelta

from django.db.models import Count
from django.db.models.functions import Now

from celery_ledger import Job, State, Worker, ledger_settings, local_time, unheard
from config import celery_app
from config.doctor.finding import Finding

WAITS_TOO_LONG_AFTER_S = 60
DUE_LOOKED_THROUGH = 10_000


def clock() -> Finding:
    living = Worker.objects.living().count()
    if living:
        return Finding("clock", f"Workers that beat: {living}.")
    newest = Worker.objects.order_by("-seen_at").first()
    since = f"; the last one did at {local_time(newest.seen_at)}" if newest else ""
    return Finding(
        "clock",
        f"No worker has beaten in the last {ledger_settings.WORKER_SILENCE_S} s{since}.",
        "Start a worker dyno (Procfile: worker) and read its log.",
    )


def waiting_jobs() -> Finding:
    patience = timedelta(seconds=WAITS_TOO_LONG_AFTER_S)
    late = Job.objects.filter(state=State.WAITING, due_at__lt=Now() - patience).order_by("due_at")
    number, oldest = late.count(), late.values_list("pk", flat=True).first()
    if not oldest:
        return Finding("waiting", f"No job has been due for more than {WAITS_TOO_LONG_AFTER_S} s.")
    sentence = f"Jobs due for more than {WAITS_TOO_LONG_AFTER_S} s: {number}."
    return Finding("waiting", sentence, f"Ask why: `python manage.py jobs why {oldest}`.")


def hearing() -> Finding:
    """Right after a fault a worker is about to cure itself: then this is green within a minute."""
    ages = [f"{queue} for {age.total_seconds():.0f} s" for queue, age in unheard().items()]
    if not ages:
        return Finding("hearing", "No idle worker leaves a due job alone.")
    return Finding(
        "hearing",
        f"Due but unheard, beside an idle worker: {', '.join(ages)}.",
        "Ask again in a minute: workers cure themselves, and say so in their logs. "
        "If it stays, restart them.",
    )


def unknown_tasks() -> Finding:
    """Due jobs that no worker of this release can do. Right after a release its web may be ahead of
    its workers.
    """
    celery_app.loader.import_default_modules()
    due = Job.objects.filter(state=State.WAITING, due_at__lt=Now()).order_by("due_at")
    tasks = Counter(due.values_list("task", flat=True)[:DUE_LOOKED_THROUGH])
    unknown = [f"{tasks[task]} of {task}" for task in sorted(tasks) if task not in celery_app.tasks]
    if not unknown:
        return Finding("tasks", "This release knows the tasks of all due jobs.")
    return Finding(
        "tasks",
        f"This release has no task for due jobs: {', '.join(unknown)}.",
        "Bring the task back until they are done, or `python manage.py jobs cancel --task NAME`.",
    )


def running_jobs() -> Finding:
    overdue = Job.objects.filter(state=State.RUNNING, lease_until__lt=Now()).order_by("lease_until")
    number, oldest = overdue.count(), overdue.values_list("pk", flat=True).first()
    if not oldest:
        return Finding("running", "No running job is past its lease.")
    return Finding(
        "running",
        f"Running jobs past their lease: {number}; no clock gives them back.",
        f"See the clock above; then `python manage.py jobs why {oldest}`.",
    )


def dead_jobs() -> Finding:
    dead = (
        Job.objects.filter(state=State.DEAD)
        .exclude(unreachable=True)
        .values_list("task")
        .annotate(number=Count("pk"))
        .order_by("task")
    )
    if not dead:
        return Finding("dead", "No job is dead.")
    return Finding(
        "dead",
        f"Dead jobs: {', '.join(f'{number} of {task}' for task, number in dead)}.",
        (
            "See `python manage.py jobs list --state dead` and `jobs why ID`; "
            "mend the cause, then `jobs retry ID`."
        ),
    )
