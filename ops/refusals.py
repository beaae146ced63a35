"""What the shop refuses, in the language of whoever reads the page."""

from typing import Any

from django.utils.translation import gettext, override

from values.refused import Refused, Sentence


def in_words(message: str, language: str | None = None) -> str:
    """The message in this language, or in the one that is turned on; in English, as the API says
    it, where the catalogue does not have it.
    """
    if language:
        with override(language):
            return in_words(message)
    if not (isinstance(message, Sentence) and message.values):
        return gettext(message) if message else ""
    text = gettext(message.text)
    if text == message.text:
        return str(message)
    return text % {name: _word(it) for name, it in message.values.items()}


def errors_of(problem: Refused) -> list[tuple[str, str]]:
    """Pairs of a pointer and what is wrong there; an empty pointer where it is about no field."""
    errors = problem.errors or [("", problem.detail)]
    return [(pointer, in_words(message)) for pointer, message in errors]


def sentence_of(problem: Refused) -> str:
    """What is wrong, in one line."""
    return "; ".join(message for _pointer, message in errors_of(problem))


def _word(value: Any) -> Any:
    return in_words(value) if isinstance(value, Sentence) else value
