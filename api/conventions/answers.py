"""Answers that are encoded once."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from pydantic import BaseModel

Body = BaseModel | Mapping[str, Any]  # a shape that is filled, or a snapshot


def answer(body: Body, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        encoded(body), status=status, content_type="application/json", headers=headers
    )


def encoded(body: Body) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(part: Any) -> Any:
    """What JSON has no sign for, in those that it has. Raises TypeError for what is not ours."""
    match part:
        case BaseModel():
            return vars(part)
        case datetime():
            return part.isoformat()
        case UUID():
            return str(part)
    raise TypeError(f"{type(part).__name__} is no part of an answer")
