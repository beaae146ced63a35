"""When an entry of `beat_schedule` is due: its slots, the same for every clock that reckons."""

from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta, tzinfo

from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as interval

CHANGE_MAX = timedelta(hours=3)  # no time zone sets its clocks further than this at once
HOURS = 24
LATEST = datetime(9000, 1, 1, tzinfo=UTC)


def slots(
    schedule: BaseSchedule, *, after: datetime, until: datetime, limit: int
) -> Iterator[datetime]:
    """The slots in (after, until], oldest first, `limit` at most."""
    slot = next_slot(schedule, after)
    for _ in range(limit):
        if slot > until:
            return
        yield slot
        slot = next_slot(schedule, slot)


def next_slot(schedule: BaseSchedule, after: datetime) -> datetime:
    """The first slot after that moment, in UTC.

    A crontab's is by the wall clock of its time zone; an interval's on a grid that all clocks
    share; any other schedule is asked. Raises ValueError when there is none after that moment.
    """
    match schedule:
        case crontab():
            slot = _next_of_crontab(schedule, after)
        case interval():
            slot = _next_of_interval(schedule.run_every.total_seconds(), after)
        case _:
            slot = _next_as_it_says(schedule, after)
    if slot <= after:
        raise ValueError(f"{schedule!r} has no slot after {after:%Y-%m-%d %H:%M:%S %Z}.")
    return slot


def _next_of_interval(seconds: float, after: datetime) -> datetime:
    if seconds <= 0:
        raise ValueError(f"An interval must be longer than {seconds:g} s.")
    return datetime.fromtimestamp((after.timestamp() // seconds + 1) * seconds, UTC)


def _next_as_it_says(schedule: BaseSchedule, after: datetime) -> datetime:
    """As `celery beat` would ask it, had it run last at that moment and were it now."""
    then = copy(schedule)
    then.nowfun = lambda: after
    slot: datetime = after + then.remaining_estimate(after)
    return slot.astimezone(UTC)


# --- crontab --------------------------------------------------------------------------------------


def _next_of_crontab(schedule: crontab, after: datetime) -> datetime:
    """By the wall clock. Where that is set back, a crontab of each hour goes on through the second
    pass, and one of certain hours runs in the first only; where it is set forward, what falls into
    the gap runs by the clock as it was before.
    """
    zone = schedule.tz
    wall = _wall(after, zone)
    slot = _moments(_next_wall(schedule, wall), zone)[0]
    if _offset(after - CHANGE_MAX, zone) == _offset(slot + CHANGE_MAX, zone):
        return slot
    return _next_around_a_change(schedule, after, zone)


def _next_around_a_change(schedule: crontab, after: datetime, zone: tzinfo) -> datetime:
    """The order of the walls is not that of the moments: look further than to the first."""
    wall, slot = _wall(after, zone) - CHANGE_MAX, LATEST
    while wall < _wall(slot, zone) + CHANGE_MAX:
        wall = _next_wall(schedule, wall)
        slot = min([slot, *(one for one in _shown(schedule, wall, zone) if one > after)])
    return slot


def _shown(schedule: crontab, wall: datetime, zone: tzinfo) -> list[datetime]:
    """The slots of this crontab when the clocks show that, of its matches one."""
    first, second = _moments(wall, zone)
    if len(schedule.hour) < HOURS:
        return [first]
    return [first, second] if first <= second else []


def _next_wall(schedule: crontab, wall: datetime) -> datetime:
    start, delta, _ = schedule.remaining_delta(wall.replace(tzinfo=UTC), tz=UTC)
    following: datetime = start + delta
    return following.replace(tzinfo=None)


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _moments(wall: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """When clocks show this: twice the same moment, but where they are set back (the later one is
    second) or forward (they never show it, and the second is the earlier one).
    """
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second


def _offset(moment: datetime, zone: tzinfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
