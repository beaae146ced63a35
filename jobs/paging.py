"""Keyset pages, newest first: `next` of a page is the `after` of the following one, and null on the last."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Protocol
from uuid import UUID

from django.db.models import Model, QuerySet
from ninja.errors import ValidationError
from pydantic import Field

Limit = Annotated[int, Field(ge=1, le=100)]
Position = tuple[datetime, UUID]
CLOCK_SKEW = timedelta(hours=1)  # ids tell the web process's time, created_at Postgres'; they are never so far apart


class Dated(Protocol):
    """A row that has its place in time."""

    pk: Any
    created_at: datetime


def page[Row: Model](
    rows: "QuerySet[Row]", show: Callable[[Row], dict[str, Any]], *, limit: int, cursor: Callable[[Row], str]
) -> dict[str, Any]:
    """One page of these ordered rows, in one query of one row more than it shows."""
    found = list(rows[: limit + 1])
    following = cursor(found[limit - 1]) if len(found) > limit else None
    return {"data": [show(row) for row in found[:limit]], "next": following}


def cursor_of(row: Dated) -> str:
    return written(f"{row.created_at.isoformat()} {row.pk}")


def position(cursor: str) -> Position:
    """Where a page ended. Raises a 422 for what we have not handed out."""
    try:
        moment, id_ = read(cursor).split(" ")
        created_at = datetime.fromisoformat(moment)
        if created_at.tzinfo is None:
            raise ValueError("no zone")
        # Postgres refuses offsets that Python takes, and UTC leaves no room for those at the ends of the calendar.
        return created_at.astimezone(UTC), UUID(id_)
    except (ValueError, OverflowError) as exc:
        raise not_ours() from exc


def written(place: str) -> str:
    """A cursor of what names the last row of a page, fit for an address."""
    return urlsafe_b64encode(place.encode()).decode()


def read(cursor: str) -> str:
    """What `written` has written. Raises a 422 for what it cannot have."""
    try:
        return urlsafe_b64decode(cursor.encode()).decode()
    except ValueError as exc:
        raise not_ours() from exc


def first_id(moment: datetime) -> UUID:
    """The least uuid7 of that millisecond: ids are in the order of time, so it ends a walk through their index."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def not_ours() -> ValidationError:
    """The 422 for a cursor that we have not handed out."""
    error = {"type": "cursor", "loc": ("query", "after"), "msg": "is not the `next` of an earlier page"}
    return ValidationError([error])
