"""The report over HTTP. What its figures mean is in `orders.reports`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from ops.access import LOOK, staff_page
from ops.clients import first_clients
from ops.refusals import sentence_of
from ops.report.charts import bars
from orders.models import Client
from orders.reports import days, spreadsheet
from orders.reports.asked import Patience, daily, monthly
from values.refused import Refused

Report = Mapping[str, Any]
PLACES = 24  # of a picture: a month that has just begun is not one broad bar


@dataclass(frozen=True)
class Asked:
    """What a report is asked for: a day, or the month that begins on it; one client, or all."""

    day: date
    is_month: bool
    client: Client | None

    @property
    def when(self) -> str:
        return f"{self.day:%Y-%m}" if self.is_month else f"{self.day}"

    def around(self, today: date) -> dict[str, str]:
        """The days or months before and after it, as `when` takes them; `after` is empty when it
        would be in the future.
        """
        before = self.day - timedelta(days=1)
        if self.is_month:
            after = (self.day + timedelta(days=31)).replace(day=1)
            found = {"before": f"{before:%Y-%m}", "after": f"{after:%Y-%m}"}
        else:
            after = self.day + timedelta(days=1)
            found = {"before": f"{before}", "after": f"{after}", "month": f"{self.day:%Y-%m}"}
        return found if after <= today else found | {"after": ""}

    def answer(self) -> Report | None:
        """None while it is computed. Raises a 404 problem for a day that has not begun."""
        patience = Patience(settings.OPS_REPORT_EVENTS, old_ones_do=True)
        about = monthly if self.is_month else daily
        if self.day > days.day_of(timezone.now()):
            raise Refused("not-found", _("%(when)s has not begun yet.") % {"when": self.when})
        return about(self.day, self.client, patience)


@require_safe
@staff_page(LOOK)
def report(request: HttpRequest) -> HttpResponse:
    """The report of a day or a month, `when`, else of this month; of a client, or of all. The page
    asks again while it is computed.
    """
    seen: dict[str, Any] = {"here": "report", "clients": first_clients(), "status": 200}
    seen["typed"] = {name: request.GET.get(name, "")[:50] for name in ("when", "client")}
    try:
        asked = _asked(request)
        around = asked.around(days.day_of(timezone.now()))
        seen |= {"asked": asked, "around": around, "report": asked.answer()}
    except Refused as problem:
        seen |= {
            "refusal": sentence_of(problem),
            "status": 404 if problem.slug == "not-found" else 422,
        }
    if figures := seen.get("report"):
        seen |= _drawn(figures)
    seen["poll_s"] = settings.REPORT_RETRY_AFTER_S
    return render(request, "ops/report/report.html", seen, status=seen["status"])


@require_safe
@staff_page(LOOK)
def as_csv(request: HttpRequest) -> HttpResponse:
    """The report with the columns of the API's; the page instead while there is none."""
    try:
        asked = _asked(request)
        figures = asked.answer()
    except Refused:
        figures = None
    if figures is None:
        return report(request)  # type: ignore[no-any-return]
    name = f'attachment; filename="report-{asked.when}.csv"'
    return HttpResponse(
        spreadsheet.written(figures),
        content_type="text/csv; charset=utf-8; header=present",
        headers={"Content-Disposition": name},
    )


def _asked(request: HttpRequest) -> Asked:
    """What the address asks for. Raises a 422 problem that says what of it cannot be read."""
    when, client = request.GET.get("when", "").strip(), _client(request.GET.get("client", ""))
    if not when:
        return Asked(days.day_of(timezone.now()).replace(day=1), True, client)
    try:
        if days.WRITTEN_MONTH.fullmatch(when):
            return Asked(days.read_month(when), True, client)
        return Asked(days.read(when), False, client)
    except ValueError:
        detail = _("Name a day like 2026-11-24 or a month like 2026-11.")
        raise Refused("invalid", detail) from None


def _client(id_: str) -> Client | None:
    """The client of that id; None, which stands for all, for an empty one. Raises a 422 problem."""
    if not id_:
        return None
    try:
        return Client.objects.get(pk=UUID(id_))
    except (ValueError, Client.DoesNotExist):
        raise Refused("invalid", _("There is no such client.")) from None


def _drawn(figures: Report) -> dict[str, Any]:
    """What the page shows of a report: each currency drawn, and the moment of the figures."""
    drawn = [_of_currency(sums) for sums in figures["currencies"]]
    return {"drawn": drawn, "as_of": datetime.fromisoformat(figures["as_of"])}


def _of_currency(sums: Report) -> dict[str, Any]:
    """The figures of a currency with their rows by day or hour, a bar of each, and today's row."""
    today = days.day_of(timezone.now()).isoformat()
    rows = [{**row, "name": row["date"]} for row in sums.get("by_day", ())]
    rows += [{**row, "name": _clock(row["hour"])} for row in sums.get("by_hour", ())]
    return {
        "sums": sums,
        "rows": rows,
        "bars": bars([(row["name"], row["gross"]) for row in rows], places=PLACES),
        "last": rows[-1]["name"] if rows else "",
        "highest": max((row["gross"] for row in rows), default=0),
        "today": next((row for row in rows if row["name"] == today), None),
    }


def _clock(hour: str) -> str:
    return f"{datetime.fromisoformat(hour):%H:%M}"
