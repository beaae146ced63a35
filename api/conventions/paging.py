"""Keyset pages, newest first: `next` of a page is the `after` of the following one, and null on the
last.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Protocol
from uuid import UUID

from django.db.models import Model
from pydantic import Field

from values.texts import UUID_PATTERN, Matching

Limit = Annotated[int, Field(ge=1, le=100)]
NOT_OURS = "is not the `next` of an earlier page"
ID = re.compile(UUID_PATTERN)
# microseconds since 1970, and the row of that moment
PLACE_IN_TIME = re.compile(rf"[0-9]{{1,16}}\.{UUID_PATTERN}")
AfterId = Annotated[str, Matching(ID, NOT_OURS, "cursor")]  # where ids are in the order of time
EITHER = re.compile(f"(?:{PLACE_IN_TIME.pattern}|{ID.pattern})")
AfterEither = Annotated[str, Matching(EITHER, NOT_OURS, "cursor")]
AfterMoment = Annotated[str, Matching(PLACE_IN_TIME, NOT_OURS, "cursor")]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Dated(Protocol):
    """A row that has its place in time."""

    pk: Any
    created_at: datetime


def is_place_in_time(after: str) -> bool:
    """Whether an AfterEither is an AfterMoment."""
    return "." in after


def id_of(row: Model) -> str:
    return str(row.pk)


def moment_of(row: Dated) -> str:
    return place_of(row.created_at, row.pk)


def place_of(moment: datetime, id_: Any) -> str:
    return f"{(moment - EPOCH) // MICROSECOND}.{id_}"


def moment_and_id(after: str) -> tuple[datetime, UUID]:
    """What an AfterMoment says."""
    microseconds, _, id_ = after.partition(".")
    return EPOCH + int(microseconds) * MICROSECOND, UUID(id_)
