"""The Django app: it registers the system checks, and Django's own tasks."""

import sys

from django.apps import AppConfig
from django.core.checks import register

from celery_ledger.checks import check_installation, check_settings, check_tasks


class CeleryLedgerConfig(AppConfig):
    name = "celery_ledger"
    verbose_name = "Jobs: the ledger"

    def ready(self) -> None:
        register(check_installation)
        register(check_tasks)
        register(check_settings)
        self._register_tasks_of_django()

    def _register_tasks_of_django(self) -> None:
        """Register functions of Django's tasks whose modules were imported before the models."""
        if "celery_ledger.django_tasks" in sys.modules:
            from celery_ledger.django_tasks import function  # noqa: PLC0415 - needs the models

            function.register_the_early_ones()
