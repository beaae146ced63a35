"""Days of the shop, also those on which its clocks change."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from orders.reports.days import Day, day_of, read


@pytest.mark.parametrize(
    ("zone", "day", "lasts_h", "hours"),
    [
        ("Asia/Tokyo", date(2025, 11, 18), 24, ["00:00+09:00", "01:00+09:00", "23:00+09:00"]),
        ("Europe/Berlin", date(2025, 3, 30), 23, ["00:00+01:00", "01:00+01:00", "23:00+02:00"]),
        ("Europe/Berlin", date(2025, 10, 26), 25, ["00:00+02:00", "01:00+02:00", "23:00+01:00"]),
        (
            "Australia/Lord_Howe",
            date(2025, 10, 5),
            23.5,
            ["00:00+10:30", "01:00+10:30", "23:30+11:00"],
        ),
        # midnight is skipped
        ("Africa/Cairo", date(2025, 4, 25), 23, ["01:00+03:00", "02:00+03:00", "23:00+03:00"]),
        # and repeated
        ("America/Havana", date(2025, 11, 2), 25, ["00:00-04:00", "00:00-05:00", "23:00-05:00"]),
        ("Pacific/Apia", date(2011, 12, 30), 0, []),  # the day that Samoa left out
    ],
)
def test_a_day_has_the_hours_that_the_shops_clocks_show(
    settings: Any, zone: str, day: date, lasts_h: float, hours: list[str]
) -> None:
    settings.TIME_ZONE = zone
    asked = Day(day)
    assert asked.end - asked.begin == timedelta(hours=lasts_h)
    assert asked.end == Day(day + timedelta(days=1)).begin
    found = asked.hours()
    assert len(found) == -(-lasts_h // 1)
    assert [
        found[index].isoformat()[11:16] + found[index].isoformat()[19:]
        for index in (0, 1, -1)
        if found
    ] == hours
    assert all(day_of(hour) == day for hour in found)


def test_a_day_is_final_when_its_last_transaction_must_have_committed(settings: Any) -> None:
    day = Day(date(2025, 11, 18))
    settled = datetime(2025, 11, 18, 15, 2, tzinfo=UTC)
    assert [day.is_settled(settled + timedelta(seconds=s)) for s in (-1, 0)] == [False, True]
    assert {day.as_of(settled + timedelta(days=days)) for days in range(9)} == {settled}


def test_figures_of_today_are_of_round_moments(settings: Any) -> None:
    day = Day(date(2025, 11, 18))
    for minutes in range(24 * 60):
        now = day.begin + timedelta(minutes=minutes, seconds=1)
        assert day.as_of(now) == day.begin + timedelta(minutes=minutes - minutes % 5)


def test_a_date_is_written_in_one_way() -> None:
    assert read("2024-02-29") == date(2024, 2, 29)
    for wrong in (
        "2025-02-29",
        "20251118",
        "2025-W01-1",
        "2025-1-2",
        " 2025-11-18",
        "٢٠٢٥-11-18",
        "2025-11-18\n",
        "",
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - it comes from here or from the standard library
            read(wrong)
