"""One endpoint over HTTP: how it is, a test of it, and calling it again."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from notifications.models import Endpoint
from ops.access import LOOK, OPERATE, may_operate, staff_page
from ops.models import StaffAction
from ops.told import verbs
from ops.told.finding import Search, found
from ops.told.health import health_of

SHOWN = 10  # newest deliveries
ACTIONS_SHOWN = 10


@require_safe
@staff_page(LOOK)
def endpoint(request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
    """One endpoint: its health, its newest deliveries, and what staff did about it."""
    one = get_object_or_404(Endpoint, pk=endpoint_id)
    seen = {
        "health": health_of([one], most=settings.OPS_UNDELIVERED_MAX)[0],
        "endpoint": one,
        "header_names": list(one.headers),  # a value may be a key to their server
        "deliveries": found(Search(endpoint=one.pk), limit=SHOWN).deliveries,
        "actions": StaffAction.of(f"endpoint {one.pk}").reverse()[:ACTIONS_SHOWN],
        "is_kept_from": bool(one.disabled_at or one.is_open),
        "may_operate": may_operate(request),
        "here": "told",
    }
    return render(request, "ops/told/endpoint.html", seen)


@require_POST
@staff_page(OPERATE)
def enable(request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
    """Have it called again; a message says so when nothing keeps it from being called."""
    get_object_or_404(Endpoint, pk=endpoint_id)
    if verbs.enable(endpoint_id, by=request.user):
        messages.success(request, _("It is called again, from now on."))
    else:
        messages.warning(request, _("Nothing was done: nothing keeps it from being called."))
    return redirect("ops:endpoint", endpoint_id)


@require_POST
@staff_page(OPERATE)
def test(request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
    """Send a test and lead to its delivery; while one is under way, to that one."""
    get_object_or_404(Endpoint, pk=endpoint_id)
    if delivery := verbs.test(endpoint_id, by=request.user):
        return redirect("ops:delivery", delivery.pk)
    messages.warning(request, _("Nothing was done: its owner has removed it."))
    return redirect("ops:endpoint", endpoint_id)
