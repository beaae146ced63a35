"""A refusal: one exception, raised anywhere below a view. What it means over HTTP stands in
api/problems/types.py.
"""

from collections.abc import Sequence
from typing import Any, Self
from uuid import UUID


class Sentence(str):
    """A sentence in English, as the API has it. A page can put it into another language by its
    `text`, with a %(name)s for each value, and its `values`, of which some may be sentences too.
    """

    text: str
    values: dict[str, Any]

    def __new__(cls, text: str, /, **values: Any) -> Self:
        sentence = super().__new__(cls, text % values if values else text)
        sentence.text, sentence.values = text, values
        return sentence

    @classmethod
    def again(cls, english: str, kept: Sequence[Any]) -> Self:
        """The sentence that was this in English, from what was `kept` of it."""
        sentence = super().__new__(cls, english)
        text, values = kept
        sentence.text = text
        sentence.values = {name: _value_again(value) for name, value in values.items()}
        return sentence

    def kept(self, most: int) -> list[Any]:
        """JSON of its text and its values; of a value that is a text, so many letters at most."""
        values = {name: _value_kept(value, most) for name, value in self.values.items()}
        return [self.text, values]


def kept_of(message: str, most: int) -> list[Any] | None:
    """What a page needs beside the English of a message to put it into another language: as
    `Sentence.kept`. None where the English is enough.
    """
    if isinstance(message, Sentence) and message.values:
        return message.kept(most)
    return None


def restored(english: str, kept: Sequence[Any] | None) -> str:
    """The message that was this in English, and of which `kept_of` kept the rest."""
    return Sentence.again(english, kept) if kept else english


def _value_kept(value: Any, most: int) -> Any:
    if isinstance(value, Sentence):
        return value.kept(most)
    return value if isinstance(value, int) else str(value)[:most]


def _value_again(kept: Any) -> Any:
    if not isinstance(kept, list):
        return kept
    text, values = kept
    return Sentence(text, **{name: _value_again(value) for name, value in values.items()})


class Refused(Exception):
    """The refusal of what was asked for, of which nothing is written.

    `slug` names the kind for machines, and `detail` tells people why. `errors` are pairs of a JSON
    pointer into what was sent, and a message. `order` is the id of the order that is in the way,
    and `retry_after_s` when to ask again.
    """

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        order: UUID | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.errors = errors
        self.order = order
        self.retry_after_s = retry_after_s


def invalid(*errors: tuple[str, str]) -> Refused:
    """The refusal of an input that is well-formed and cannot be: by pairs of JSON pointer and
    message.
    """
    detail = "; ".join(
        f"{pointer}: {message}" if pointer else message for pointer, message in errors
    )
    return Refused("invalid", detail, errors=errors)
