"""/v1/reports: figures of a day or a month, of a client's own orders. HTTP stays here; what they
mean is in `orders.reports`.
"""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from ninja import Path, Router
from pydantic import WithJsonSchema

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.shapes.headers import LOCATION, scoped
from api.shapes.responses.reports import Computing
from orders.reports import days, snapshots, spreadsheet
from orders.reports.asked import daily, monthly
from values.refused import invalid
from values.texts import Matching

router = Router(tags=["reports"])
Date = Annotated[str, WithJsonSchema({"type": "string", "format": "date"})]
Month = Annotated[str, Matching(days.WRITTEN_MONTH, "must be a month like 2026-11")]


AGAIN = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}


@router.get(
    "/daily/{day}.csv",
    summary="Read a day's figures as CSV",
    response={202: Computing},
    openapi_extra=scoped("reports:read", headers={202: LOCATION | AGAIN}, media_type="text/csv"),
)
def read_daily_report_as_csv(request: AuthenticatedRequest, day: Path[Date]) -> HttpResponse:
    """The same as the JSON, for a spreadsheet: one table whose column `section` says total, hour or
    sku.
    """
    return _as_csv(request, daily(_day(day), request.auth.client), f"daily-{day}")


@router.get(
    "/daily/{day}",
    summary="Read a day's figures",
    response={200: snapshots.Report, 202: Computing},
    openapi_extra=scoped("reports:read", headers={202: LOCATION | AGAIN}),
)
def read_daily_report(request: AuthenticatedRequest, day: Path[Date]) -> HttpResponse:
    """Per currency: orders, gross, refunds, net, by hour, top SKUs, of your own orders.

    200 with `final` true for a day that is over, and with what is known so far for today. While the
    figures are still being computed 202: ask again after `Retry-After` seconds.
    """
    return _as_json(request, daily(_day(day), request.auth.client))


@router.get(
    "/monthly/{month}.csv",
    summary="Read a month's figures as CSV",
    response={202: Computing},
    openapi_extra=scoped("reports:read", headers={202: LOCATION | AGAIN}, media_type="text/csv"),
)
def read_monthly_report_as_csv(request: AuthenticatedRequest, month: Path[Month]) -> HttpResponse:
    """One table whose column `section` says total or day."""
    return _as_csv(
        request, monthly(days.read_month(month), request.auth.client), f"monthly-{month}"
    )


@router.get(
    "/monthly/{month}",
    summary="Read a month's figures",
    response={200: snapshots.MonthlyReport, 202: Computing},
    openapi_extra=scoped("reports:read", headers={202: LOCATION | AGAIN}),
)
def read_monthly_report(request: AuthenticatedRequest, month: Path[Month]) -> HttpResponse:
    """The sum of its days, up to today: orders, gross, refunds and net per currency, and by day."""
    return _as_json(request, monthly(days.read_month(month), request.auth.client))


def _day(text: str) -> date:
    try:
        return days.read(text)
    except ValueError as exc:
        raise invalid(("/path/day", "must be a date like 2026-11-24")) from exc


def _as_csv(request: HttpRequest, report: Mapping[str, Any] | None, name: str) -> HttpResponse:
    if report is None:
        return _computing(request)
    return HttpResponse(
        spreadsheet.written(report),
        content_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


def _as_json(request: HttpRequest, report: Mapping[str, Any] | None) -> HttpResponse:
    return _computing(request) if report is None else answer(report)


def _computing(request: HttpRequest) -> HttpResponse:
    headers = {"Location": request.path, "Retry-After": str(settings.REPORT_RETRY_AFTER_S)}
    return answer(Computing(state="computing"), status=202, headers=headers)
