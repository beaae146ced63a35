"""The shape of every refusal (RFC 9457), for whoever refuses: Django, or gunicorn before it."""

import json
from collections.abc import Sequence
from typing import Any

from django.conf import settings

from api.problems.types import TYPES

CONTENT_TYPE = "application/problem+json"


def document(
    slug: str,
    detail: str,
    *,
    errors: Sequence[tuple[str, str]] = (),
    request_id: str | None,
    status: int | None = None,
) -> str:
    """As long as it may be, however much is wrong: what the client has sent stands in it in parts
    only.

    `status` is for a kind that has none of its own.
    """
    kind = TYPES[slug]
    left_out = len(errors) - settings.PROBLEM_ERRORS_MAX
    problem: dict[str, Any] = {
        "type": f"/problems/{slug}",
        "title": kind.title,
        "status": status or kind.status,
        "detail": _cut(detail) + (f" (and {left_out} more)" if left_out > 0 else ""),
        "errors": [
            {"pointer": _cut(pointer), "message": _cut(message)}
            for pointer, message in errors[: settings.PROBLEM_ERRORS_MAX]
        ],
        "request_id": request_id,
    }
    return json.dumps(problem, ensure_ascii=False)


def _cut(text: str) -> str:
    longest = settings.PROBLEM_TEXT_MAX_CHARS
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
