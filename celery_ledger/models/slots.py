"""Computes the slots of a schedule: the times at which it is due, the same in every process."""

from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta, tzinfo

from celery.schedules import BaseSchedule, crontab
from celery.schedules import schedule as interval

CHANGE_MAX = timedelta(hours=3)  # no time zone sets its clocks further than this at once
HOURS = 24
LATEST = datetime(9000, 1, 1, tzinfo=UTC)  # later than any slot


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
    """The next slot by the schedule's own `remaining_estimate`, as if `after` were now and the
    moment of its last run.
    """
    then = copy(schedule)
    then.nowfun = lambda: after
    slot: datetime = after + then.remaining_estimate(after)
    return slot.astimezone(UTC)


# --- crontab --------------------------------------------------------------------------------------


def _next_of_crontab(schedule: crontab, after: datetime) -> datetime:
    """The next slot by the wall clock of the crontab's time zone.

    Where that clock is set back, a crontab of every hour has slots in both passes of the repeated
    hour, and one of certain hours only in the first. Where it is set forward, a slot in the gap is
    at the moment that it would have been without the change.
    """
    zone = schedule.tz
    wall = _wall(after, zone)
    slot = _moments(_next_wall(schedule, wall), zone)[0]
    if _offset(after - CHANGE_MAX, zone) == _offset(slot + CHANGE_MAX, zone):
        return slot
    return _next_around_a_change(schedule, after, zone)


def _next_around_a_change(schedule: crontab, after: datetime, zone: tzinfo) -> datetime:
    """The next slot near a change of the clocks. There the order of wall times is not the order of
    moments, so matches before and after are looked at too, and the earliest moment counts.
    """
    wall, slot = _wall(after, zone) - CHANGE_MAX, LATEST
    while wall < _wall(slot, zone) + CHANGE_MAX:
        wall = _next_wall(schedule, wall)
        later = [moment for moment in _slots_at(schedule, wall, zone) if moment > after]
        slot = min([slot, *later])
    return slot


def _slots_at(schedule: crontab, wall: datetime, zone: tzinfo) -> list[datetime]:
    """The moments of the crontab's slots at this wall time, which matches it: one, two in a
    repeated hour, or none in a gap whose moment is another slot's too.
    """
    first, second = _moments(wall, zone)
    if len(schedule.hour) < HOURS:
        return [first]
    return [first, second] if first <= second else []


def _next_wall(schedule: crontab, wall: datetime) -> datetime:
    """The next wall time, after this one, that matches the crontab."""
    start, delta, _ = schedule.remaining_delta(wall.replace(tzinfo=UTC), tz=UTC)
    following: datetime = start + delta
    return following.replace(tzinfo=None)


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _moments(wall: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """The two moments that this wall time may mean, in UTC; mostly they are the same.

    Where clocks are set back, it is shown twice, and the second moment is the later one. Where they
    are set forward, it is never shown, and the second is the earlier one.
    """
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second


def _offset(moment: datetime, zone: tzinfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
