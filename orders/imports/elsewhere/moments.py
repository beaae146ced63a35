"""A moment as files have it: year first, with an offset or in the shop's own time."""

import re
from datetime import datetime, timedelta, timezone, tzinfo

WRITTEN = re.compile(
    r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})"
    r"(?:[Tt ] ?(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,6})\d*)?)?)?"
    r" ?(?:([Zz]|UTC)|([-+])(\d\d):?(\d\d))?",
    re.ASCII,
)


def read(text: str, zone: tzinfo) -> datetime:
    """The moment that is written as 2026-01-31T09:00:00+09:00, 2026-01-31 09:00:00 +0900, 2026/1/31
    9:00 or 2026-01-31, which is midnight; `zone` is for a text without an offset. Raises
    ValueError.
    """
    found = WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text} is no moment")
    year, _, month, day, hour, minute, second, fraction, utc, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if utc or sign:
        zone = timezone(-offset if sign == "-" else offset)
    return datetime(
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((fraction or "").ljust(6, "0")),
        tzinfo=zone,
    )
