"""What the shop refuses, in the language of whoever reads the page."""

from typing import Any

from django.utils.translation import gettext

from values.refused import Refused, Sentence


def in_words(message: str) -> str:
    """English where the catalogue does not have it, as the API says it."""
    if isinstance(message, Sentence) and message.values:
        return gettext(message.text) % {name: _word(it) for name, it in message.values.items()}
    return gettext(message) if message else ""


def errors_of(problem: Refused) -> list[tuple[str, str]]:
    """Pairs of a pointer and what is wrong there; the empty one for what is about no field."""
    errors = problem.errors or [("", problem.detail)]
    return [(pointer, in_words(message)) for pointer, message in errors]


def said_of(problem: Refused) -> str:
    return "; ".join(message for _pointer, message in errors_of(problem))


def _word(value: Any) -> Any:
    return in_words(value) if isinstance(value, Sentence) else value
