from importlib import import_module

from django.apps import AppConfig
from django.core.checks import register


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = "Notifications: who is told"

    def ready(self) -> None:
        register(import_module("notifications.mail.checks").check_mails)  # it knows the models
