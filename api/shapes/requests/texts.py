"""Moments and reasons, as requests name them."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from values.texts import Line

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # nothing here is older
LATEST = datetime(9999, 12, 31, tzinfo=UTC)
Reason = Annotated[Line, Field(min_length=1, max_length=200)]


def _moment(text: Any) -> datetime:
    """A moment with its offset, written out, and no earlier than anything here."""
    try:
        if not (isinstance(text, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]", text)):
            raise ValueError(text)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
        return max(_in_utc(moment), EPOCH)
    except ValueError:
        raise PydanticCustomError(
            "moment", "must be a moment like 2026-01-31T09:00:00+09:00"
        ) from None


def _in_utc(moment: datetime) -> datetime:
    """Its offset may lead out of the years that there are here: then it is the first or last."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return EPOCH if moment.year < EPOCH.year else LATEST


def _with_its_plus(text: str) -> str:
    """A query reads the plus of an offset as a space."""
    return re.sub(r"(?<=\d) (?=\d\d:?\d\d$)", "+", text) if re.match("[^ ]+[Tt]", text) else text


Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]


QueryMoment = Annotated[Moment, BeforeValidator(_with_its_plus)]
