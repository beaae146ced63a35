"""A refusal: one exception, raised anywhere below a view. What it means over HTTP stands in
api/problems/types.py.
"""

from collections.abc import Sequence
from typing import Any, Self
from uuid import UUID


class Sentence(str):
    """English, as the API says it. A page may say the same in another language: it has the `text`
    and the `values` in it, of which some may be sentences too.
    """

    text: str
    values: dict[str, Any]

    def __new__(cls, text: str, /, **values: Any) -> Self:
        sentence = super().__new__(cls, text % values if values else text)
        sentence.text, sentence.values = text, values
        return sentence

    @classmethod
    def again(cls, said: str, kept: Sequence[Any]) -> Self:
        """As it was said, from what was `kept` of it."""
        sentence = super().__new__(cls, said)
        sentence.text = kept[0]
        sentence.values = {name: _value_again(it) for name, it in kept[1].items()}
        return sentence

    def kept(self, most: int) -> list[Any]:
        """JSON of its text and its values; of a value that is a text, so many letters at most."""
        return [self.text, {name: _value_kept(it, most) for name, it in self.values.items()}]


def kept_of(message: str, most: int) -> list[Any] | None:
    """What a page needs beside the English to say it in another language; None for nothing."""
    has_values = isinstance(message, Sentence) and message.values
    return message.kept(most) if isinstance(message, Sentence) and has_values else None


def said_again(said: str, kept: Sequence[Any] | None) -> str:
    return Sentence.again(said, kept) if kept else said


def _value_kept(value: Any, most: int) -> Any:
    if isinstance(value, Sentence):
        return value.kept(most)
    return value if isinstance(value, int) else str(value)[:most]


def _value_again(kept: Any) -> Any:
    if not isinstance(kept, list):
        return kept
    text, values = kept
    return Sentence(text, **{name: _value_again(it) for name, it in values.items()})


class Refused(Exception):
    """Nothing of what was asked for is written.

    `slug` names the kind for machines, `detail` says it to people, `errors` are pairs of a JSON
    pointer into what was sent and what is wrong there. `order` is where the answer leads to, and
    `retry_after_s` when to ask again.
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
    """It is well-formed but says something that cannot be: pairs of JSON pointer and message."""
    detail = "; ".join(
        f"{pointer}: {message}" if pointer else message for pointer, message in errors
    )
    return Refused("invalid", detail, errors=errors)
