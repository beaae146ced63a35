"""Sentry, when SENTRY_DSN is set: what the log calls an error arrives there, once, and without
anybody's data.

The log's ERROR lines and nothing else are sent, through the handler that Sentry has for that. Its
integrations of Django and Celery are off: they patch both, would send paths, bodies and arguments
of tasks, and would see an attempt only after its context is gone. A line of ours is written inside
it, so an event carries the request's and the job's id. Importing this needs the optional package.
"""

import logging
from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.types import Event, Hint

from config.logs import about, scrubbed

KEPT = (
    "event_id",
    "timestamp",
    "level",
    "platform",
    "logger",
    "release",
    "environment",
    "server_name",
    "sdk",
)


def begin() -> None:
    """Nothing is sent yet, and what will be is sent by a thread of its own."""
    sentry_sdk.init(
        settings.SENTRY_DSN,
        release=settings.RELEASE,
        environment="development" if settings.DEBUG else "production",
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[AtexitIntegration(callback=lambda pending, timeout: None)],
        before_send=without_data,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        shutdown_timeout=settings.SENTRY_FLUSH_LIMIT_S,
    )


def without_data(event: Event, hint: Hint) -> Event | None:
    """What is known to hold nobody's data: the error with its stack, without values; our ids,
    numbers and names.
    """
    record = hint.get("log_record")
    if not isinstance(record, logging.LogRecord):
        return None
    parts: dict[str, Any] = {**event}
    kept: Any = {name: parts[name] for name in KEPT if name in parts}
    kept["logentry"] = {"formatted": scrubbed(record.getMessage())}
    kept["tags"] = {name: str(value) for name, value in about(record).items()}
    if "exception" in event:
        kept["exception"] = event["exception"]
        for error in event["exception"].get("values", []):
            error["value"] = scrubbed(str(error.get("value") or ""))
    return kept  # type: ignore[no-any-return]
