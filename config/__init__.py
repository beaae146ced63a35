"""The Django project: settings, the Celery app, urls and what faces the platform."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
