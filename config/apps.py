from importlib import import_module

from django.apps import AppConfig, apps
from django.conf import settings
from django.utils.translation import gettext_lazy, pgettext_lazy

OURS = ("orders", "notifications", "celery_ledger")


class ConfigConfig(AppConfig):
    name = "config"
    verbose_name = "The project"

    def ready(self) -> None:
        if "sentry" in settings.LOGGING["handlers"]:
            import_module("config.sentry").begin()
        for label in OURS:
            _name_for_people(apps.get_app_config(label))


def _name_for_people(app: AppConfig) -> None:
    """In the admin a table and its columns are called as the catalogue calls them."""
    app.verbose_name = gettext_lazy(str(app.verbose_name))
    for model in app.get_models():
        its = model._meta
        its.verbose_name = pgettext_lazy("table", str(its.verbose_name))
        its.verbose_name_plural = pgettext_lazy("table", str(its.verbose_name_plural))
        for column in its.fields:
            column.verbose_name = pgettext_lazy("column", str(column.verbose_name))
