"""The history of a job in its row: how its newest HISTORY_MAX attempts ended.

A settled attempt has no entry, since the row's own columns say how it ended.
"""

import json
from enum import StrEnum
from typing import Any

from django.db.models import Func, JSONField, Value

from celery_ledger.conf import ledger_settings


class End(StrEnum):
    RETRY = "retry"  # the task raised Retry
    TROUBLE = "trouble"  # Postgres was in trouble, or a soft time limit passed
    LOST = "lost"  # without a verdict: the worker died or fell silent
    STOPPED = "stopped"  # the worker stopped before it ended
    DEAD = "dead"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"  # no attempt: a person put the dead job aside
    RETRIED = "retried"  # no attempt: a person had the job retried


class Appended(Func):
    """An expression: the row's history with one more entry, and without the oldest if it is
    full.
    """

    output_field = JSONField()
    template = (
        "(CASE WHEN jsonb_array_length(history) < %(limit)s THEN history ELSE history - 0 END)"
        " || jsonb_build_array(jsonb_build_object("
        "'at', clock_timestamp(), 'attempt', attempts, 'worker', worker)"
        " || (%(expressions)s)::jsonb)"
    )


def appended(end: End, error: dict[str, Any]) -> Appended:
    """The history with a new entry: {"at", "attempt", "worker", "end", "error": {"type",
    "message"}}, the message cut to HISTORY_MESSAGE_MAX_CHARS.
    """
    short = {part: text for part, text in error.items() if part not in ("args", "traceback")}
    short["message"] = error["message"][: ledger_settings.HISTORY_MESSAGE_MAX_CHARS]
    entry: dict[str, Any] = {"end": end, "error": short}
    return Appended(Value(json.dumps(entry)), limit=ledger_settings.HISTORY_MAX)
