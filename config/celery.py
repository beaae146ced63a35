"""The Celery app, which `celery_ledger` makes durable."""

import os
from typing import Any

from celery import Celery, bootsteps
from django.conf import settings

from celery_ledger import celery_options, install
from config import logs
from config.start.boot import require_settings, say_it_in_a_sentence

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


class Shop(Celery):  # type: ignore[misc]
    def bugreport(self) -> str:
        """What `celery report` prints, for others to read: no passwords, wherever they stand."""
        return logs.scrubbed(super().bugreport())


app = Shop("kaiten", **celery_options())
app.config_from_object("django.conf:settings", namespace="CELERY")
install(app)
app.autodiscover_tasks()
# packages of an app, which Celery does not look into
app.autodiscover_tasks(
    [
        "notifications.oversight",
        "orders.exports",
        "orders.imports",
        "orders.imports.elsewhere",
        "orders.reports",
    ]
)


@app.on_configure.connect
def read_settings(**_: Any) -> None:
    """Unreadable settings end a worker in a sentence, as they end the web dyno."""
    with say_it_in_a_sentence():
        settings.DATABASES  # noqa: B018 - the first look at the settings reads them
    if os.environ.get("CELERY_BROKER_URL") == os.environ.get("BROKER_URL"):
        # the celery command put it there as it stands, before the settings
        os.environ.pop("CELERY_BROKER_URL", None)


class CheckedStart(bootsteps.Step):  # type: ignore[misc]
    """A worker that lacks a setting does not start."""

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        with say_it_in_a_sentence():
            require_settings(broker=True)


app.steps["worker"].add(CheckedStart)
