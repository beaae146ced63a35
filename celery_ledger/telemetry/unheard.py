"""Finds queues whose due jobs nobody begins, although a worker that serves them is idle."""

from datetime import timedelta

from celery import current_app
from django.db.models import Min
from django.db.models.functions import Now

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job, Pause, PauseKind, Worker
from celery_ledger.publishing.waking import threaded_tasks


def unheard() -> dict[str, timedelta]:
    """For each such queue, how long its oldest due job has been due.

    The worker notices it too and cures itself (`worker.hearing`), so it lasts a minute at most.
    """
    quiet = Worker.objects.quiet().values_list("queues", flat=True)
    served = {name for names in quiet for name in names or ()}
    served -= Pause.objects.names(PauseKind.QUEUE)
    current_app.loader.import_default_modules()
    # threads are left out: they may all be busy while a process of the pool is idle
    tasks = {*current_app.tasks} - {*threaded_tasks(current_app)}
    tasks -= Pause.objects.names(PauseKind.TASK)
    due = Job.objects.due_for(ledger_settings.DEAF_S).filter(task__in=tasks)
    ages = {}
    for queue in sorted(served):
        first = due.filter(queue=queue).by_bell()[: ledger_settings.METRICS_ROWS_MAX]
        age = first.aggregate(age=Now() - Min("due_at"))["age"]
        if age is not None:
            ages[queue] = age
    return ages
