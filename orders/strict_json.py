"""JSON as strict as Postgres and honest clients need it, and errors that say where.

Python's parser takes NaN, 1e999, duplicate keys, lone surrogates and NUL, and fails on deep nesting and long numbers
with exceptions of other kinds. Here each of them is a place in the document.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

from django.conf import settings


class NotJson(Exception):
    """The body is not acceptable JSON; `pointer` says where, `message` what."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer or 'the body'} {message}")
        self.pointer = pointer
        self.message = message


class _Refused:
    """Stands in the document where something cannot be accepted, until the walk tells where that is."""

    def __init__(self, message: str) -> None:
        self.message = message


def parse(body: bytes) -> Any:
    """The document. Raises NotJson."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise NotJson("", f"is not UTF-8 at byte {exc.start}") from exc
    try:
        document = json.loads(
            text, parse_int=_integer, parse_float=_float, parse_constant=_constant, object_pairs_hook=_object
        )
    except json.JSONDecodeError as exc:
        raise NotJson("", f"is not JSON: {exc.msg} at line {exc.lineno} column {exc.colno}") from exc
    except RecursionError as exc:
        raise NotJson("", f"is nested more than {settings.JSON_MAX_DEPTH} deep") from exc
    for pointer, message in _objections(document):
        raise NotJson(pointer, message)
    return document


def _integer(digits: str) -> int | _Refused:
    if len(digits.lstrip("-")) > settings.JSON_INTEGER_MAX_DIGITS:
        return _Refused(f"has more than {settings.JSON_INTEGER_MAX_DIGITS} digits")
    return int(digits)


def _float(text: str) -> float | _Refused:
    number = float(text)
    return number if math.isfinite(number) else _Refused("is too large a number")


def _constant(name: str) -> _Refused:
    return _Refused(f"is {name}, which is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields[name] = _Refused("stands there twice") if name in fields else value
    return fields


def _objections(document: Any) -> Iterator[tuple[str, str]]:
    """Places that cannot be accepted, found without recursion."""
    places: list[tuple[str, int, Any]] = [("", 0, document)]
    while places:
        pointer, depth, value = places.pop()
        if depth > settings.JSON_MAX_DEPTH:
            yield pointer, f"is nested more than {settings.JSON_MAX_DEPTH} deep"
            return
        if objection := _objection(value):
            yield pointer, objection
        elif isinstance(value, list):
            places += [(f"{pointer}/{at}", depth + 1, item) for at, item in enumerate(value)]
        elif isinstance(value, dict):
            places += [(f"{pointer}/{_escaped(name)}", depth + 1, item) for name, item in value.items()]


def _objection(value: Any) -> str | None:
    match value:
        case _Refused():
            return value.message
        case str():
            return _text_objection(value)
        case dict():
            names = (_text_objection(name) for name in value)
            return next((f"has a name that {objection}" for objection in names if objection), None)
        case _:
            return None


def _text_objection(text: str) -> str | None:
    if "\x00" in text:
        return "holds a NUL character"
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return "holds half of a surrogate pair"
    return None


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
