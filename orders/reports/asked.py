"""What somebody asks for: the report of a day, or of a month, which is the sum of its days."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.utils import timezone

from orders.models.client import Client
from orders.reports import days, figures, snapshots
from orders.reports.days import Day
from orders.reports.models import DailyReport, report_of
from orders.reports.tasks import promise
from values.refused import Refused

SUMS = ("orders", "gross", "refunds", "net")


class Patience(NamedTuple):
    """How long whoever asks will wait: while so many events are read at once; and whether old
    figures do until they are computed anew.
    """

    events: int
    old_ones_do: bool = False


def daily(
    day: date, client: Client | None, patience: Patience | None = None
) -> snapshots.Report | None:
    """The report of a day about one client or all; None while it is being computed. Refuses with
    `not-found` a day that has not begun.
    """
    patience = patience or Patience(settings.REPORT_AT_ONCE_EVENTS)
    now, first = timezone.now(), figures.first_moment()
    _require_begun(day, now)
    if first is None or day < days.day_of(first):
        return report_of(day, [], as_of=now, final=day < days.day_of(now))
    asked = Day(day)
    kept = DailyReport.objects.about(day, client)
    is_over = asked.is_settled(now)
    is_fresh = kept and kept.as_of >= asked.as_of(now) - settings.REPORT_FRESH
    if kept and (kept.final or (is_fresh and not is_over)):
        return kept.snapshot()
    if not is_over and figures.is_small(asked, patience.events):
        own = client.pk if client else None
        so_far = figures.at_once(own, asked, until=now)
        return report_of(day, so_far, as_of=now, final=False)
    promise(day)
    return kept.snapshot() if kept and patience.old_ones_do else None


def monthly(
    first: date, client: Client | None, patience: Patience | None = None
) -> snapshots.MonthlyReport | None:
    """The report of the month that begins on that day, as far as it has come; None while a day of
    it is being computed. Refuses as `daily` does.
    """
    now = timezone.now()
    _require_begun(first, now)
    month, today = list(_month(first)), days.day_of(now)
    asked = [daily(day, client, patience) for day in month if day <= today]
    reports = [report for report in asked if report is not None]
    if len(reports) < len(asked):
        return None
    return {
        "month": f"{first:%Y-%m}",
        "time_zone": settings.TIME_ZONE,
        "final": len(reports) == len(month) and all(report["final"] for report in reports),
        "as_of": max(report["as_of"] for report in reports),
        "currencies": cast("list[snapshots.MonthFigures]", _added_up(reports)),
    }


def _require_begun(day: date, now: datetime) -> None:
    if day > days.day_of(now):
        raise Refused(
            "not-found", f"{day} has not begun in the shop's time zone, {settings.TIME_ZONE}."
        )


def _month(first: date) -> Iterator[date]:
    day = first
    while day.month == first.month:
        yield day
        day += timedelta(days=1)


def _added_up(reports: list[snapshots.Report]) -> list[dict[str, Any]]:
    """The figures of each currency, in the order of their codes: its sums, and those by day."""
    sums_of: dict[str, dict[str, dict[str, int]]] = {}  # by currency and by date
    for report in reports:
        for figure in report["currencies"]:
            moved: Any = figure
            sums = {name: moved[name] for name in SUMS}
            sums_of.setdefault(figure["currency"], {})[report["date"]] = sums
    dates = [report["date"] for report in reports]
    return [_of_currency(currency, sums_of[currency], dates) for currency in sorted(sums_of)]


def _of_currency(
    currency: str, sums_on: dict[str, dict[str, int]], dates: list[str]
) -> dict[str, Any]:
    nothing = dict.fromkeys(SUMS, 0)
    return {
        "currency": currency,
        **{name: sum(sums[name] for sums in sums_on.values()) for name in SUMS},
        "by_day": [{"date": date_, **sums_on.get(date_, nothing)} for date_ in dates],
    }
