from django.apps import AppConfig
from django.core.checks import register

from jobs.checks import check_settings, check_tasks


class JobsConfig(AppConfig):
    name = "jobs"
    verbose_name = "Jobs: the ledger"

    def ready(self) -> None:
        register(check_tasks)
        register(check_settings)
