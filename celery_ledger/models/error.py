"""Describes an exception as JSON that a row can keep."""

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

CALLERS = (  # folders and files whose frames are not those of a body
    os.path.dirname(celery.__file__) + os.sep,
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    contextlib.__file__,
)


def scrubbed(text: str) -> str:
    """The text of an error as the project wants it kept (`LEDGER["SCRUB"]`), e.g. without anybody's
    address.
    """
    setting = ledger_settings.SCRUB
    scrub: Callable[[str], str] = import_string(setting) if isinstance(setting, str) else setting
    return scrub(text)


def describe(exc: BaseException) -> dict[str, Any]:
    """The exception as a row keeps it, cut to size and without what Postgres cannot store.

    `type` and `message` always; `module` unless it is builtins; `args` unless they are the message
    or cannot be stored; `traceback` if there is one, of the body's frames.
    """
    try:
        message = _storable_text(str(exc))
    except Exception:  # its __str__ may raise
        message = "its text cannot be read"
    error: dict[str, Any] = {"type": type(exc).__qualname__, "message": message}
    module, args = type(exc).__module__, _storable_args(exc)
    if module != "builtins":
        error["module"] = module
    if args not in (None, [message]):
        error["args"] = args
    if exc.__traceback__ is not None:
        lines = traceback.format_exception(type(exc), exc, _since_the_body(exc.__traceback__))
        limit = ledger_settings.TRACEBACK_MAX_CHARS
        error["traceback"] = _storable_text("".join(lines)[-limit:], limit)
    return error


def _since_the_body(trace: TracebackType) -> TracebackType:
    """The traceback without the frames before the body's own: those of CALLERS."""
    inner: TracebackType | None = trace
    while inner and inner.tb_frame.f_code.co_filename.startswith(CALLERS):
        inner = inner.tb_next
    return inner or trace


def _storable_args(exc: BaseException) -> list[Any] | None:
    """The arguments of the exception as JSON, to make it again of them; None if a row cannot hold
    all of them.
    """
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
            return [_storable(item) for item in value]
        case dict():
            return {_storable_text(str(name)): _storable(item) for name, item in value.items()}
        case bytes() | date() | time() | Decimal() | UUID():  # types that Celery's JSON can write
            return json.loads(celery_json.dumps(value))
        case _:
            return _storable_text(repr(value))


def _storable_text(text: str, limit: int | None = None) -> str:
    """The text scrubbed, of `limit` characters (ERROR_MAX_CHARS) at most, in valid UTF-8 and
    without NUL.
    """
    limit = limit or ledger_settings.ERROR_MAX_CHARS
    text = text.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return scrubbed(text[: 2 * limit])[:limit]
