"""A day of the shop: when it begins and ends, its hours, and from when on its figures are final."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from django.conf import settings
from django.utils import timezone

HOUR = timedelta(hours=1)
WRITTEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
WRITTEN_MONTH = re.compile(r"20[0-9]{2}-(?:0[1-9]|1[0-2])")


@dataclass(frozen=True)
class Day:
    """A date in the shop's time zone. Moments come out in UTC, since two of one zone differ by what
    the clock shows.
    """

    date: date

    @property
    def begin(self) -> datetime:
        return midnight(self.date)

    @property
    def end(self) -> datetime:
        return midnight(self.date + timedelta(days=1))

    @property
    def settled_at(self) -> datetime:
        """When the last transaction of the day has committed, for an event carries the time of its
        statement.
        """
        return self.end + settings.REPORT_SETTLES

    def hours(self) -> list[datetime]:
        """The beginning of each hour as the shop's clocks show it: 24 of them, or 23 or 25 when
        these change.
        """
        count = -((self.begin - self.end) // HOUR)
        return [(self.begin + HOUR * hour).astimezone(shop_zone()) for hour in range(count)]

    def is_settled(self, now: datetime) -> bool:
        return now >= self.settled_at

    def as_of(self, now: datetime) -> datetime:
        """The moment up to which figures reach that are begun now: always the same one for a
        settled day, else a round one.
        """
        if self.is_settled(now):
            return self.settled_at
        return now - (now - self.begin) % settings.REPORT_FRESH


def shop_zone() -> tzinfo:
    return timezone.get_default_timezone()


def midnight(day: date) -> datetime:
    """When this date begins. Where the clocks skip or repeat midnight, it is the first moment of
    the date.
    """
    return datetime(day.year, day.month, day.day, tzinfo=shop_zone()).astimezone(UTC)


def day_of(moment: datetime) -> date:
    return moment.astimezone(shop_zone()).date()


def read(text: str) -> date:
    """A date written as yyyy-mm-dd and in no other way. Raises ValueError."""
    if not WRITTEN.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text)


def read_month(text: str) -> date:
    """The first day of a month written as yyyy-mm and in no other way. Raises ValueError."""
    if not WRITTEN_MONTH.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(f"{text}-01")
