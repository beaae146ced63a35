"""Reads a task's `concurrency` and `rate_limit`, and makes the keys of its calls.

A limit is a text `TEMPLATE=AMOUNT`, e.g. `endpoint:{endpoint_id}=2`. The names in braces are
arguments of the task; with the values of a call the template becomes a key. Jobs with the same key
share the limit, whatever their tasks. A limit without a template is one of the task as a whole.
"""

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from string import Formatter
from typing import Any, NamedTuple
from uuid import UUID

from celery import Task
from celery.utils.time import rate

from celery_ledger.conf import ledger_settings
from celery_ledger.errors import CannotBeStored

OF_A_KEY, OF_A_TASK = "key ", "task "  # how keys begin, so that no key is another task's name
SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Limit(NamedTuple):
    """A limit as its task has written it, in its two parts."""

    template: str | None  # of the key; None for the task as a whole
    amount: str


class Keys(NamedTuple):
    """The keys of a job. None where its task has no such limit, or a rate of the task as a
    whole.
    """

    concurrency: str | None = None
    rate: str | None = None


@cache
def limit_of(text: str) -> Limit:
    """The parts of a limit. Nothing is checked."""
    template, equals, amount = text.rpartition("=")
    return Limit(template if equals else None, amount)


def rate_of(task: Task) -> str:
    """How often jobs of one key of this task may begin, e.g. "10/m"."""
    return limit_of(str(task.rate_limit)).amount


def has_rate_by_key(task: Task) -> bool:
    """Whether the task's `rate_limit` has a template of a key."""
    return limit_of(str(task.rate_limit)).template is not None


def places_of(task: Task) -> int:
    """How many jobs of one key of this task may run at once."""
    return _places(limit_of(str(task.concurrency)).amount)


def wrong_limits(task: Any, signature: inspect.Signature) -> Iterator[str]:
    """A sentence for each of the two options that cannot be kept, of a task with this signature."""
    parameters = signature.parameters.values()
    takes = {parameter.name for parameter in parameters if parameter.kind not in SEVERAL}
    for option, read in (("rate_limit", pause_s), ("concurrency", _places)):
        written = getattr(task, option, None)
        is_off = option == "rate_limit" and not written  # Celery's way to have none
        if written is None or is_off:
            continue
        limit = limit_of(str(written))
        try:
            read(limit.amount)
            _refuse_template(limit.template, takes)
        except ValueError as exc:
            yield f"{option} cannot be kept: {exc}."


def keys_of(task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Keys:
    """The keys of a call with these arguments. Raises CannotBeStored if they make no key."""
    concurrency = limit_of(str(task.concurrency)) if task.concurrency else None
    rate = limit_of(str(task.rate_limit)).template if task.rate_limit else None
    return Keys(
        concurrency and _key(concurrency.template, task, args, kwargs),
        rate and _key(rate, task, args, kwargs),
    )


def keys_of_the_task(task: Task) -> Keys:
    """The keys of a job whose arguments make none: all such jobs of the task share them."""
    own = OF_A_TASK + task.name
    return Keys(own if task.concurrency else None, own if task.rate_limit else None)


def name_of(key: str) -> str:
    """The key without how keys begin, for people."""
    return key.removeprefix(OF_A_KEY).removeprefix(OF_A_TASK)


def _places(amount: str) -> int:
    """The number of places. Raises ValueError unless it is from 1 to LIMIT_PLACES_MAX."""
    most = ledger_settings.LIMIT_PLACES_MAX
    number = int(amount) if amount.isascii() and amount.isdigit() else 0
    if not 1 <= number <= most:
        raise ValueError(f"{amount!r} is no number of jobs from 1 to {most}")
    return number


def _refuse_template(template: str | None, takes: Collection[str]) -> None:
    """Raise ValueError if the template is empty, or names what is not among these arguments."""
    if template is None:
        return
    if not template:
        raise ValueError("its key is empty")
    names = _names_in(template)
    unknown = sorted(names - set(takes))
    if unknown:
        raise ValueError(f"its key names {', '.join(unknown)}, which the task does not take")


@cache
def _names_in(template: str) -> set[str]:
    """The names in braces. Raises ValueError for anything else in braces."""
    names = set()
    for _, name, spec, conversion in Formatter().parse(template):
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"in braces of {template!r} may stand the name of an argument alone")
        names.add(name)
    return names


def _key(template: str | None, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The key of a call, by this template. Raises CannotBeStored if there is none."""
    if template is None:
        return f"{OF_A_TASK}{task.name}"
    try:
        key: str = template.format_map(_values(template, task, args, kwargs))
        key.encode()
    except ValueError as exc:
        raise CannotBeStored(f"A key of {task.name}, {template!r}, cannot be made: {exc}.") from exc
    most = ledger_settings.LIMIT_KEY_MAX_CHARS
    if len(key) > most:
        raise CannotBeStored(
            f"A key of {task.name}, {template!r}, has {len(key)} characters; {most} are allowed."
        )
    return OF_A_KEY + key


def _values(
    template: str, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, str]:
    """The texts for the names in braces, in this call. Raises ValueError if one has none."""
    signature = _signature(task)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as exc:
        raise ValueError(exc) from exc
    bound.apply_defaults()
    return {name: _text(name, bound.arguments) for name in _names_in(template)}


def _text(name: str, arguments: Mapping[str, Any]) -> str:
    """The argument as a part of a key. Raises ValueError for a type that has no text of its own."""
    if name not in arguments:
        raise ValueError(f"{name} is no argument of it")
    value = arguments[name]
    if not isinstance(value, (str, int, UUID)):  # a bool is an int
        raise ValueError(f"{name} is a {type(value).__name__}, and no text, number or UUID")
    return str(value)


def _signature(task: Task) -> inspect.Signature:
    """The signature of the task's body. The task remembers it, since it takes longer to find than
    the rest of a key.
    """
    kept = vars(task).get("ledger_signature")
    if kept is None or kept[0] is not task.run:
        kept = task.ledger_signature = (task.run, inspect.signature(task.run))
    signature: inspect.Signature = kept[1]
    return signature


def pause_s(rate_limit: str | float) -> float:
    """The seconds between two jobs under Celery's "10/s", "10/m", "10/h" or a number a second.

    Raises ValueError for anything else, and for a rate of 0 or less.
    """
    try:
        per_second = float(rate(rate_limit))
    except (ValueError, KeyError, TypeError) as exc:
        raise ValueError(f"{rate_limit!r} is no rate like 10/s, 10/m or 10/h") from exc
    if per_second <= 0:
        raise ValueError(f"{rate_limit!r} lets no job begin, ever")
    return 1 / per_second
