"""The Celery app. `jobs` makes it durable through Celery's own constructor arguments (ARCHITECTURE.md)."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery(
    "kaiten",
    amqp="jobs.amqp:LedgerAMQP",
    backend="jobs.backend:LedgerBackend",
    task_cls="jobs.task:LedgerTask",
    fixups=["jobs.fixup:fixup"],
)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add("jobs.clock:ClockStep")
