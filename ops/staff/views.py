"""What staff did, over HTTP."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ops.access import LOOK, staff_page
from ops.models import StaffAction


@require_safe
@staff_page(LOOK)
def actions(request: HttpRequest) -> HttpResponse:
    """The newest first; of one person with `who`; older ones with `before`, a row's id."""
    chosen: dict[str, Any] = {}
    if who := request.GET.get("who", "")[: settings.OPS_TERM_MAX]:
        chosen["who"] = who
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 19:
        chosen["pk__lt"] = int(before)
    rows = list(StaffAction.objects.filter(**chosen).order_by("-pk")[: settings.OPS_ROWS_MAX + 1])
    more = len(rows) > settings.OPS_ROWS_MAX
    shown = rows[: settings.OPS_ROWS_MAX]
    seen = {"actions": shown, "older": shown[-1].pk if more else None, "who": who}
    return render(request, "ops/staff/actions.html", {**seen, "here": "actions"})
