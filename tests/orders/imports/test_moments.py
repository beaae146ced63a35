from datetime import timedelta, timezone

import pytest

from orders.imports.elsewhere.moments import read

TOKYO = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-31T09:00:00+09:00", "2026-01-31T09:00:00+09:00"),
        ("2026-01-31 09:00:00 +0900", "2026-01-31T09:00:00+09:00"),  # Shopify
        ("2026-01-31T00:00:00Z", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31 00:00:00 UTC", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31T09:00:00.123456789-03:30", "2026-01-31T09:00:00.123456-03:30"),
        ("2026/1/31 9:05", "2026-01-31T09:05:00+09:00"),  # Excel in Japan
        ("2026-01-31", "2026-01-31T00:00:00+09:00"),
    ],
)
def test_a_moment_is_read_as_files_have_it(text: str, meant: str) -> None:
    assert read(text, TOKYO).isoformat() == meant


@pytest.mark.parametrize(
    "text", ["", "31/01/2026", "01-31-2026", "2026-01/31", "20260131", "46053", "2026-01-31 9"]
)
def test_what_could_be_another_day_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no moment"):
        read(text, TOKYO)


@pytest.mark.parametrize("text", ["2026-02-30", "2026-01-31 25:00", "2026-01-31T00:00+99:00"])
def test_no_calendar_has_another(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|day|hour|offset"):
        read(text, TOKYO)
