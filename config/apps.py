from importlib import import_module

from django.apps import AppConfig
from django.conf import settings


class ConfigConfig(AppConfig):
    name = "config"
    verbose_name = "The project"

    def ready(self) -> None:
        if "sentry" in settings.LOGGING["handlers"]:
            import_module("config.sentry").begin()
