"""A Django project with nothing but the ledger: its tests run in it, without the shop."""

from tests.celery_ledger.project.celery import app

__all__ = ["app"]
