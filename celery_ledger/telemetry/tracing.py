"""Spans of OpenTelemetry, if the setting OTLP_ENDPOINT names a collector. A request and all jobs
that it leads to are one trace.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Literal

from celery_ledger.conf import ledger_settings


@contextmanager
def span(name: str, kind: Literal["SERVER", "CONSUMER"]) -> Iterator[dict[str, Any]]:
    """Make a span around the block, if spans are made at all.

    The block gets a dictionary and puts the span's attributes into it. Two names are special: a
    `name` renames the span, and a true `failed` marks it as an error. An error that leaves the
    block is not recorded, neither its text nor its traceback.
    """
    about: dict[str, Any] = {}
    if not ledger_settings.OTLP_ENDPOINT:
        yield about
        return
    spans = import_module("celery_ledger.telemetry.spans")  # needs the optional package
    with spans.around(name, kind, about):
        yield about
