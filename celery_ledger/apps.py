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
