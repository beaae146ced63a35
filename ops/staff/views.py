"""Who works here and what they did, over HTTP."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ops.access import LOOK, staff_page
from ops.models import StaffAction
from ops.places import place, serial


@require_safe
@staff_page(LOOK)
def actions(request: HttpRequest) -> HttpResponse:
    """What staff did, the newest first; of one person with `who`; older ones with `before`, a row's
    id.
    """
    chosen: dict[str, Any] = {}
    if who := request.GET.get("who", "")[: settings.OPS_TERM_MAX]:
        chosen["who"] = who
    if before := place(request, "before", serial):
        chosen["pk__lt"] = before
    rows = list(StaffAction.objects.filter(**chosen).order_by("-pk")[: settings.OPS_ROWS_MAX + 1])
    more = len(rows) > settings.OPS_ROWS_MAX
    page = rows[: settings.OPS_ROWS_MAX]
    seen = {"actions": page, "older": page[-1].pk if more else None, "who": who}
    return render(request, "ops/staff/actions.html", {**seen, "here": "actions"})


@require_safe
@staff_page(LOOK)
def people(request: HttpRequest) -> HttpResponse:
    """Who may do what here; it is changed at /admin/."""
    own = Permission.objects.filter(content_type__app_label="ops")
    users = (
        get_user_model()
        ._default_manager.order_by("-is_active", "username")
        .prefetch_related(Prefetch("user_permissions", own), Prefetch("groups__permissions", own))
    )
    rows = list(users[: settings.OPS_PEOPLE_MAX])
    seen = {"people": [(row, _may(row)) for row in rows], "here": "settings"}
    return render(request, "ops/staff/people.html", seen)


def _may(user: Any) -> list[str]:
    """The codenames of the permissions that they have here, by themselves or by a group."""
    by_groups = {one.codename for group in user.groups.all() for one in group.permissions.all()}
    found = by_groups | {one.codename for one in user.user_permissions.all()}
    every = ("look", "operate", "administer")
    return [name for name in every if user.is_superuser or name in found]
