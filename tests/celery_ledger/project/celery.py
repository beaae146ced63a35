"""The Celery app of a project with the ledger."""

from celery import Celery

from celery_ledger import celery_options, install

app = Celery("project", **celery_options())
app.config_from_object("django.conf:settings", namespace="CELERY")
install(app)
app.autodiscover_tasks()
app.autodiscover_tasks(["tests.celery_ledger"])
