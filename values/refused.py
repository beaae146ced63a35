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
