"""An error as a row keeps it: cut to size, and free of what Postgres cannot store."""

import contextlib
import json
import os
import traceback
from collections.abc import Callable
from datetime import date, time
from decimal import Decimal
from types import TracebackType
from typing import Any
from uuid import UUID

import celery
from django.utils.module_loading import import_string
from kombu.utils import json as celery_json

from celery_ledger.conf import ledger_settings

CALLERS = (  # the files whose frames stand before a body's
    os.path.dirname(celery.__file__) + os.sep,
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    contextlib.__file__,
)


def scrubbed(text: str) -> str:
    """As the project wants errors kept (`LEDGER["SCRUB"]`), e.g. without anybody's address."""
    setting = ledger_settings.SCRUB
    scrub: Callable[[str], str] = import_string(setting) if isinstance(setting, str) else setting
    return scrub(text)


def describe(exc: BaseException) -> dict[str, Any]:
    """An error as the row keeps it, cut to size and free of what Postgres cannot store: `type`,
    `message`, and where they say more, `module`, `args` and `traceback`.
    """
    try:
        message = _storable_text(str(exc))
    except Exception:  # an error may be broken too
        message = "its text cannot be read"
    error: dict[str, Any] = {"type": type(exc).__qualname__, "message": message}
    if (module := type(exc).__module__) != "builtins":
        error["module"] = module
    if (args := _storable_args(exc)) not in (None, [message]):
        error["args"] = args
    if exc.__traceback__ is not None:
        lines = traceback.format_exception(type(exc), exc, _since_the_body(exc.__traceback__))
        limit = ledger_settings.TRACEBACK_MAX_CHARS
        error["traceback"] = _storable_text("".join(lines)[-limit:], limit)
    return error


def _since_the_body(trace: TracebackType) -> TracebackType:
    """Without the frames of whoever called it: Celery, the ledger, and what these use."""
    inner: TracebackType | None = trace
    while inner and inner.tb_frame.f_code.co_filename.startswith(CALLERS):
        inner = inner.tb_next
    return inner or trace


def _storable_args(exc: BaseException) -> list[Any] | None:
    """What the error was made of, if a row can hold all of it: it is made again of that."""
    try:
        args = [_storable(arg) for arg in exc.args]
        size = len(json.dumps(args, allow_nan=False))
    except (ValueError, RecursionError):
        return None
    return args if size <= ledger_settings.ERROR_MAX_CHARS else None


def _storable(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _storable_text(value)
        case list() | tuple():
            return [_storable(one) for one in value]
        case dict():
            return {_storable_text(str(name)): _storable(one) for name, one in value.items()}
        case bytes() | date() | time() | Decimal() | UUID():  # what Celery's JSON has marks for
            return json.loads(celery_json.dumps(value))
        case _:
            return _storable_text(repr(value))


def _storable_text(text: str, limit: int | None = None) -> str:
    limit = limit or ledger_settings.ERROR_MAX_CHARS
    text = text.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return scrubbed(text[: 2 * limit])[:limit]
