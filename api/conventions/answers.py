"""Answers that are encoded once."""

import json
from typing import Any

from django.http import HttpResponse


def answer(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        encoded(body), status=status, content_type="application/json", headers=headers
    )


def encoded(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
