"""Numbers that depend on each other, checked at boot (`manage.py check`, and every release)."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

WEB_STOP_S = 20  # graceful_timeout in config/gunicorn_conf.py


def check_settings(app_configs: Any, **options: Any) -> list[CheckMessage]:
    wrong = []
    if not 0 < settings.PREFER_WAIT_PLACES < settings.WEB_THREADS:
        wrong.append(
            "PREFER_WAIT_PLACES must be less than WEB_THREADS, "
            "or requests that wait stop the others."
        )
    if settings.PREFER_WAIT_MAX_S >= WEB_STOP_S:
        wrong.append(
            f"PREFER_WAIT_MAX_S must be under {WEB_STOP_S} s, "
            "or a deploy cuts off requests that wait."
        )
    return [Error(objection, id="orders.E001") for objection in wrong]
