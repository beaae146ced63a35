"""Checks a call before its row is written: arguments that a row cannot hold, and options that mean
nothing, are refused.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from celery.canvas import Signature
from celery.utils.functional import maybe_list
from django.utils.dateparse import parse_datetime
from kombu.utils import json as celery_json

from celery_ledger import context
from celery_ledger.conf import ledger_settings
from celery_ledger.errors import CannotBeStored

PRIORITY_MAX = 255  # the most that any broker of Celery's has


def storable(name: str, args: list[Any]) -> list[Any]:
    """The arguments as they came. Raises CannotBeStored if they are not JSON, or are larger than
    ARGS_MAX_BYTES (GATHERED_MAX_BYTES if the ledger gives them).
    """
    try:
        text = text_of(args)
    except ValueError as exc:
        raise CannotBeStored(f"The arguments of {name} cannot be stored: {exc}.") from exc
    except TypeError as exc:
        raise CannotBeStored(
            f"The arguments of {name} must be JSON: {exc}. Pass ids, not objects."
        ) from exc
    size = len(text)
    numbers = ledger_settings
    allowed = numbers.GATHERED_MAX_BYTES if context.is_gathering() else numbers.ARGS_MAX_BYTES
    if size > allowed:
        raise CannotBeStored(
            f"The arguments of {name} are {size} bytes; {allowed} are allowed. "
            "Store the data and pass its id."
        )
    return args


def text_of(value: Any) -> bytes:
    """The value as the JSON of a row. Raises TypeError if it is not JSON, and ValueError if it
    would not come back as it was.
    """
    text: str = celery_json.dumps(value, allow_nan=False, ensure_ascii=False)
    celery_json.loads(text)  # raises for a mapping with Celery's `__type__` that is none of its own
    if context.is_gathering():  # results of tasks were checked when their jobs were settled
        return text.encode(errors="surrogatepass")
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("a text holds the character NUL")
    return text.encode()  # raises for half a surrogate pair


def refuse_nonsense(name: str, kept: dict[str, Any], priority: Any) -> None:
    """Raise ValueError for a priority, an eta, an `expires` or a time limit that is none. Celery
    itself takes anything.
    """
    if type(priority) is not int or abs(priority) > PRIORITY_MAX:
        raise ValueError(
            f"The priority of {name} is no whole number from {-PRIORITY_MAX} to {PRIORITY_MAX}: "
            f"{priority!r}."
        )
    for option in ("eta", "expires"):
        moment = kept[option]
        try:
            is_moment = not moment or parse_datetime(moment) is not None
        except ValueError:
            is_moment = False
        if not is_moment:
            raise ValueError(f"The {option} of {name} is no time: {moment!r}.")
    for option, limit in zip(("time_limit", "soft_time_limit"), kept["timelimit"], strict=True):
        is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
        if limit is not None and not (is_number and 0 < limit < float("inf")):
            raise ValueError(f"The {option} of {name} is no number of seconds: {limit!r}.")


def leaves(step: Signature) -> Iterator[Signature]:
    """The signatures of single tasks in a step of a canvas, however nested, and in the callbacks
    and errbacks of each.
    """
    named = step["kwargs"]
    match step["task"]:
        case "celery.chain" | "celery.group":
            inner = list(named["tasks"])
        case "celery.chord":
            header = named["header"]
            inner = [*(header if isinstance(header, list) else [header]), named["body"]]
        case _:
            yield step
            inner = []
    linked = [step["options"].get(option) or () for option in ("link", "link_error")]
    for signature in chain(inner, *map(maybe_list, linked)):
        yield from leaves(signature)
