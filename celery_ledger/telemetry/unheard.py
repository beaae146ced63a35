"""Due but unheard: jobs that nobody begins, beside workers that serve their queue and are idle."""

from datetime import timedelta

from celery import current_app
from django.db.models import Min
from django.db.models.functions import Now

from celery_ledger.conf import ledger_settings
from celery_ledger.models import Job, Pause, PauseKind, Worker
from celery_ledger.publishing.waking import threaded_tasks


def unheard() -> dict[str, timedelta]:
    """Of each such queue, for how long the oldest of these jobs has been due.

    A worker cures itself of it (`worker.hearing`), so it is there for a minute at most.
    """
    quiet = Worker.objects.quiet().values_list("queues", flat=True)
    served = {name for names in quiet for name in names or ()}
    served -= Pause.objects.names(PauseKind.QUEUE)
    current_app.loader.import_default_modules()
    tasks = {*current_app.tasks} - {*threaded_tasks(current_app)}  # whose threads may all be busy
    tasks -= Pause.objects.names(PauseKind.TASK)
    due = Job.objects.due_for(ledger_settings.DEAF_S).filter(task__in=tasks)
    found = {}
    for queue in sorted(served):
        first = due.filter(queue=queue).by_bell()[: ledger_settings.METRICS_ROWS_MAX]
        age = first.aggregate(age=Now() - Min("due_at"))["age"]
        if age is not None:
            found[queue] = age
    return found
