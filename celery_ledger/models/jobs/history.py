"""How the attempts at a job ended, kept in its row: the newest HISTORY_MAX ends, for whoever asks
why.

An attempt that was settled is no entry: the row's own columns say all of it.
"""

import json
from enum import StrEnum
from typing import Any

from django.db.models import Func, JSONField, Value

from celery_ledger.conf import ledger_settings


class End(StrEnum):
    RETRY = "retry"  # the task said: try again
    TROUBLE = "trouble"  # Postgres was in trouble, or its time was over
    LOST = "lost"  # no verdict: the worker died or fell silent
    STOPPED = "stopped"  # the worker was told to stop
    DEAD = "dead"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"  # no attempt: a person has put a dead one aside
    RETRIED = "retried"  # no attempt: a person has it retried


class Appended(Func):
    """The row's history with one more entry; the oldest goes when there are too many."""

    output_field = JSONField()
    template = (
        "(CASE WHEN jsonb_array_length(history) < %(limit)s THEN history ELSE history - 0 END)"
        " || jsonb_build_array(jsonb_build_object("
        "'at', clock_timestamp(), 'attempt', attempts, 'worker', worker)"
        " || (%(expressions)s)::jsonb)"
    )


def appended(end: End, error: dict[str, Any]) -> Appended:
    """The newest entry: {"at", "attempt", "worker", "end", "error": {"type", "message"}}, its
    message cut short.
    """
    short = {part: text for part, text in error.items() if part not in ("args", "traceback")}
    short["message"] = error["message"][: ledger_settings.HISTORY_MESSAGE_MAX_CHARS]
    entry: dict[str, Any] = {"end": end, "error": short}
    return Appended(Value(json.dumps(entry)), limit=ledger_settings.HISTORY_MAX)
