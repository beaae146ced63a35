"""Who may open a staff page: whoever is logged in and has the permission, by group or by person."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache

LOOK, OPERATE, ADMINISTER = "ops.look", "ops.operate", "ops.administer"
View = Callable[..., HttpResponseBase]


def may_operate(request: HttpRequest) -> bool:
    """Whether a page shows its buttons to this person."""
    return bool(request.user.has_perm(OPERATE))


def may_administer(request: HttpRequest) -> bool:
    return bool(request.user.has_perm(ADMINISTER))


def staff_page(permission: str) -> Callable[[View], Any]:
    """Whoever is not logged in is led to log in and back; whoever lacks the permission gets 403."""

    def guard(view: View) -> Any:
        allowed = permission_required(permission, raise_exception=True)(view)
        return never_cache(login_required(allowed))

    return guard
