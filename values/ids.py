"""Ids as places in time: a uuid7 begins with the millisecond in which it was made."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

# ids tell the web process's time, created_at Postgres'; they are never so far apart
CLOCK_SKEW = timedelta(hours=1)


def uuid_in(value: Any) -> UUID | None:
    """The id that a value from outside is, as a text; None for one that is no id."""
    try:
        return UUID(str(value))
    except ValueError:
        return None


def first_id(moment: datetime) -> UUID:
    """The least uuid7 of that millisecond: ids are in the order of time, so it ends a walk through
    their index.
    """
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)
