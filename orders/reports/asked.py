"""What somebody asks for: the report of a day, or of a month, which is the sum of its days."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.utils import timezone

from orders.models.client import Client
from orders.reports import days, figures, snapshots
from orders.reports.days import Day
from orders.reports.models import DailyReport, shown
from orders.reports.tasks import promise
from values.refused import Refused

SUMS = ("orders", "gross", "refunds", "net")


class Patience(NamedTuple):
    """Of whoever asks: for how many events to be read at once, and whether figures that are kept
    from a while ago do until they are computed anew.
    """

    events: int
    old_ones_do: bool = False


def daily(
    day: date, client: Client | None, patience: Patience | None = None
) -> snapshots.Report | None:
    """About one client or all; None when it is being computed. Raises a 404 problem for a day that
    has not begun.
    """
    patience = patience or Patience(settings.REPORT_AT_ONCE_EVENTS)
    now, first = timezone.now(), figures.first_moment()
    _require_begun(day, now)
    if first is None or day < days.day_of(first):
        return shown(day, [], as_of=now, final=day < days.day_of(now))
    asked = Day(day)
    kept = DailyReport.objects.about(day, client)
    is_over = asked.is_settled(now)
    is_fresh = kept and kept.as_of >= asked.as_of(now) - settings.REPORT_FRESH
    if kept and (kept.final or (is_fresh and not is_over)):
        return kept.snapshot()
    if not is_over and figures.is_small(asked, patience.events):
        own = client.pk if client else None
        return shown(day, figures.at_once(own, asked, until=now), as_of=now, final=False)
    promise(day)
    return kept.snapshot() if kept and patience.old_ones_do else None


def monthly(
    first: date, client: Client | None, patience: Patience | None = None
) -> snapshots.MonthlyReport | None:
    """Of the month that begins then, as far as it has come; None when a day of it is being
    computed. Raises as `daily` does.
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
    """For each currency, and for each day of it."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for report in reports:
        for figure in report["currencies"]:
            moved: Any = figure
            found.setdefault(figure["currency"], {})[report["date"]] = {
                name: moved[name] for name in SUMS
            }
    nothing = dict.fromkeys(SUMS, 0)
    return [
        {
            "currency": currency,
            **{name: sum(day[name] for day in of_days.values()) for name in SUMS},
            "by_day": [
                {"date": report["date"], **of_days.get(report["date"], nothing)}
                for report in reports
            ],
        }
        for currency, of_days in sorted(found.items())
    ]
