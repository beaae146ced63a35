"""/v1/reports: a day's figures of a client's own orders. HTTP stays here; what they mean is in
`orders.reports`.
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Path, Router
from pydantic import WithJsonSchema

from api.auth import AuthenticatedRequest
from api.shapes import responses
from api.shapes.headers import LOCATION, described
from orders import snapshots
from orders.models import ApiKey
from orders.reports import days, figures, spreadsheet
from orders.reports.days import Day
from orders.reports.models import DailyReport, shown
from orders.reports.tasks import promise
from values.refused import Refused, invalid

router = Router(tags=["reports"])
Date = Annotated[str, WithJsonSchema({"type": "string", "format": "date"})]


AGAIN = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}


@router.get(
    "/daily/{day}.csv",
    summary="Read a day's figures as CSV",
    response={202: responses.Computing},
    openapi_extra=described("reports:read", headers={202: LOCATION | AGAIN}, media_type="text/csv"),
)
def read_daily_report_as_csv(request: AuthenticatedRequest, day: Path[Date]) -> HttpResponse:
    """The same as the JSON, for a spreadsheet: one table whose column `section` says total, hour or
    sku.
    """
    report = _report(request.auth, _day(day))
    if report is None:
        return _computing(request)
    return HttpResponse(
        spreadsheet.written(report),
        content_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="daily-{report["date"]}.csv"'},
    )


@router.get(
    "/daily/{day}",
    summary="Read a day's figures",
    response={200: snapshots.Report, 202: responses.Computing},
    openapi_extra=described("reports:read", headers={202: LOCATION | AGAIN}),
)
def read_daily_report(request: AuthenticatedRequest, day: Path[Date]) -> HttpResponse:
    """Per currency: orders, gross, refunds, net, by hour, top SKUs, of your own orders.

    200 with `final` true for a day that is over, and with what is known so far for today. While the
    figures are still being computed 202: ask again after `Retry-After` seconds.
    """
    report = _report(request.auth, _day(day))
    return _computing(request) if report is None else _answer(report)


def _report(key: ApiKey, day: date) -> snapshots.Report | None:
    """The report, or None when it is being computed."""
    now, first = timezone.now(), figures.first_moment()
    if first is None or day < days.day_of(first):
        return shown(day, [], as_of=now, final=day < days.day_of(now))
    asked = Day(day)
    kept = DailyReport.objects.about(day, key.client)
    is_over = asked.is_settled(now)
    is_fresh = kept and kept.as_of >= asked.as_of(now) - settings.REPORT_FRESH
    if kept and (kept.final or (is_fresh and not is_over)):
        return kept.snapshot()
    if not is_over and figures.is_small(asked):
        return shown(day, figures.at_once(key.client_id, asked, until=now), as_of=now, final=False)
    promise(day)
    return None


def _day(text: str) -> date:
    try:
        day = days.read(text)
    except ValueError as exc:
        raise invalid(("/path/day", "must be a date like 2026-11-24")) from exc
    if day > days.day_of(timezone.now()):
        raise Refused(
            "not-found", f"{day} has not begun in the shop's time zone, {settings.TIME_ZONE}."
        )
    return day


def _computing(request: HttpRequest) -> HttpResponse:
    headers = {"Location": request.path, "Retry-After": str(settings.REPORT_RETRY_AFTER_S)}
    return _answer({"state": "computing"}, status=202, headers=headers)


def _answer(
    content: Mapping[str, Any], *, status: int = 200, headers: dict[str, str] | None = None
) -> HttpResponse:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return HttpResponse(text, status=status, content_type="application/json", headers=headers)
