"""What a call is refused for, before there is a row: arguments that no row should hold, and options
that mean nothing.
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

PRIORITY_MAX = 255  # as far as any broker of Celery's goes


def storable(name: str, args: list[Any]) -> list[Any]:
    """The arguments, if they are JSON of a size that a row should hold."""
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
    """As a row would hold it. Raises TypeError for what is no JSON, and ValueError for JSON that
    would not come back.
    """
    text: str = celery_json.dumps(value, allow_nan=False, ensure_ascii=False)
    celery_json.loads(text)  # a mapping with Celery's own marks in it may not come back
    if context.is_gathering():  # what a task returned has been looked at, and goes as it is
        return text.encode(errors="surrogatepass")
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("a text holds the character NUL")
    return text.encode()  # which half a surrogate pair does not survive


def refuse_nonsense(name: str, kept: dict[str, Any], priority: Any) -> None:
    """Celery takes any text for a time, and anything for a time limit or a priority."""
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
    """The tasks in a step of a canvas, however they are nested, and those that they link to."""
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
    for one in chain(inner, *map(maybe_list, linked)):
        yield from leaves(one)
