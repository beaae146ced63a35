"""Answers that are encoded once."""

import json
from typing import Any

from django.http import HttpResponse


def answer(said: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        encoded(said), status=status, content_type="application/json", headers=headers
    )


def encoded(said: Any) -> str:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))
