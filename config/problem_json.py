"""The shape of every refusal (RFC 9457), for whoever refuses: Django, or gunicorn before it."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

CONTENT_TYPE = "application/problem+json"


def document(
    status: int, slug: str, detail: str, *, errors: Sequence[tuple[str, str]] = (), request_id: str | None
) -> str:
    said: dict[str, Any] = {
        "type": f"/problems/{slug}", "title": HTTPStatus(status).phrase, "status": status, "detail": detail,
        "errors": [{"pointer": pointer, "message": message} for pointer, message in errors],
        "request_id": request_id,
    }  # fmt: skip
    return json.dumps(said, ensure_ascii=False)
