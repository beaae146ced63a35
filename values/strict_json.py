"""JSON as strict as Postgres and honest clients need it, and errors that say where.

Python's parser takes NaN, 1e999, duplicate keys, lone surrogates and NUL, and fails on deep nesting
and long numbers with exceptions of other kinds. Here each of them is a place in the document.
"""

import json
import math
import re
from typing import Any, NamedTuple

from django.conf import settings

from values.refused import Sentence

WHOLE_MAX = 2**53  # up to here a float says which whole number it is
# NUL, which Postgres cannot hold, and halves of surrogate pairs
UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


class NotJson(Exception):
    """The body is not acceptable JSON; `pointer` says where, `message` what, `sentence` both."""

    def __init__(self, pointer: str, message: str) -> None:
        place = pointer or Sentence("the body")
        self.sentence = Sentence("%(place)s %(message)s", place=place, message=message)
        super().__init__(self.sentence)
        self.pointer = pointer
        self.message = message


class _Refused:
    """A value that cannot be accepted, and why. It stands in the document until the walk finds
    where.
    """

    def __init__(self, message: str) -> None:
        self.message = message


class _Place(NamedTuple):
    """A value and how it was reached. Its pointer is written when it is asked for: one place of all
    is asked, at most.
    """

    value: Any
    depth: int = 0
    step: str | int = ""
    parent: "_Place | None" = None

    @property
    def pointer(self) -> str:
        steps: list[str] = []
        place: _Place | None = self
        while place is not None and place.parent is not None:
            steps.append(escaped(str(place.step)))
            place = place.parent
        return "".join(f"/{step}" for step in reversed(steps))


def parse(body: bytes) -> Any:
    """The document, in time and memory that grow as the body does. Raises NotJson."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise NotJson("", Sentence("is not UTF-8 at byte %(byte)s", byte=exc.start)) from exc
    try:
        document = json.loads(
            text,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as exc:
        raise NotJson("", _no_json(exc)) from exc
    except RecursionError as exc:
        raise NotJson("", _too_deep()) from exc
    _walk(document)
    return document


def _no_json(exc: json.JSONDecodeError) -> Sentence:
    text = "is not JSON: %(why)s at line %(line)s column %(column)s"
    return Sentence(text, why=exc.msg, line=exc.lineno, column=exc.colno)


def _too_deep() -> Sentence:
    return Sentence("is nested more than %(most)s deep", most=settings.JSON_MAX_DEPTH)


def _integer(digits: str) -> int | _Refused:
    if len(digits.lstrip("-")) > settings.JSON_INTEGER_MAX_DIGITS:
        most = settings.JSON_INTEGER_MAX_DIGITS
        return _Refused(Sentence("has more than %(most)s digits", most=most))
    return int(digits)


def _float(text: str) -> float | int | _Refused:
    """The number of this text: a whole one for `1.0` and `1e2` too, as JSON Schema counts them."""
    number = float(text)
    if not math.isfinite(number):
        return _Refused(Sentence("is too large a number"))
    return int(number) if number.is_integer() and abs(number) <= WHOLE_MAX else number


def _constant(name: str) -> _Refused:
    return _Refused(Sentence("is %(name)s, which is not JSON", name=name))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields[name] = _Refused(Sentence("stands there twice")) if name in fields else value
    return fields


def _walk(document: Any) -> None:
    """Look at every value, without recursion. Raises NotJson for the first that is not accepted."""
    places, seen = [_Place(document)], 1
    while places:
        place = places.pop()
        if place.depth > settings.JSON_MAX_DEPTH:
            raise NotJson(place.pointer, _too_deep())
        if objection := _objection(place.value):
            raise NotJson(place.pointer, objection)
        if not isinstance(place.value, list | dict):
            continue
        seen += len(place.value)
        if seen > settings.JSON_VALUES_MAX:
            text = "holds more than %(most)s values"
            raise NotJson("", Sentence(text, most=settings.JSON_VALUES_MAX))
        steps = place.value.items() if isinstance(place.value, dict) else enumerate(place.value)
        places += [_Place(value, place.depth + 1, step, place) for step, value in steps]


def _objection(value: Any) -> str | None:
    match value:
        case _Refused():
            return value.message
        case str():
            return _text_objection(value)
        case dict():
            names = (_text_objection(name) for name in value)
            found = next(filter(None, names), None)
            return found and Sentence("has a name that %(objection)s", objection=found)
        case _:
            return None


def _text_objection(text: str) -> str | None:
    found = UNSTORABLE.search(text)
    if found is None:
        return None
    if found[0] == "\x00":
        return Sentence("holds a NUL character")
    return Sentence("holds half of a surrogate pair")


def escaped(name: str) -> str:
    """A name as one step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
