"""Spans of OpenTelemetry, when OTEL_EXPORTER_OTLP_ENDPOINT is set: a request and all jobs that it
led to, one trace.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Literal

from celery_ledger.conf import ledger_settings


@contextmanager
def span(name: str, kind: Literal["SERVER", "CONSUMER"]) -> Iterator[dict[str, Any]]:
    """A span around the block, and what the block puts into the mapping is told of it.

    `name` renames the span, `failed` marks it as an error; neither the error's text nor its trace
    is told.
    """
    about: dict[str, Any] = {}
    if not ledger_settings.OTLP_ENDPOINT:
        yield about
        return
    with import_module("celery_ledger.telemetry.spans").around(
        name, kind, about
    ):  # which needs the optional package
        yield about
