"""The settings that the ledger needs, and no others."""

import os

import dj_database_url

SECRET_KEY = "nothing is signed here"
INSTALLED_APPS = [
    "celery_ledger",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
BROKER_URL = os.environ["REDIS_URL"]
TIME_ZONE = "Asia/Tokyo"
USE_TZ = True
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

CELERY_BROKER_URL = BROKER_URL
CELERY_TASK_DEFAULT_QUEUE = "kaiten"
LEDGER: dict[str, object] = {}
TASKS = {
    "default": {
        "BACKEND": "celery_ledger.django_tasks.LedgerBackend",
        "QUEUES": ["default", "outside", "bulk"],
    }
}
