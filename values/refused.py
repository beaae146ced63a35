"""What the API says when it refuses: one exception, shaped like RFC 9457."""

from collections.abc import Mapping, Sequence


class Problem(Exception):
    """Raised anywhere below a view; nothing of the request is written.

    `slug` names the kind for machines (type = /problems/<slug>), `detail` says it to people, `errors` are pairs of
    a JSON pointer into the request body and what is wrong there.
    """

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})


def invalid(*errors: tuple[str, str]) -> Problem:
    """The body is well-formed but says something that cannot be: pairs of JSON pointer and message."""
    said = "; ".join(f"{pointer}: {message}" if pointer else message for pointer, message in errors)
    return Problem(422, "invalid", said, errors=errors)
