"""Logging in at /admin/: a brake for whoever guesses, by name and by address (django-axes), kept in
Postgres.
"""

import ipaddress
import threading
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache

_places = threading.BoundedSemaphore(settings.LOGIN_PLACES)
WAIT_S = 2


@never_cache
def login(request: HttpRequest) -> HttpResponse:
    """Django's own page. Few passwords are checked at a time, since each keeps a core busy that
    others wait for.
    """
    if request.method != "POST":
        return admin.site.login(request)
    if not _places.acquire(blocking=False):
        return _refused(request, retry_after_s=WAIT_S)
    try:
        return admin.site.login(request)
    finally:
        _places.release()


def locked_out(
    request: HttpRequest, response: HttpResponse | None, credentials: Any
) -> HttpResponse:
    """For axes: too many wrong passwords."""
    return _refused(request, retry_after_s=int(settings.AXES_COOLOFF_TIME.total_seconds()))


def _refused(request: HttpRequest, *, retry_after_s: int) -> HttpResponse:
    page = render(request, "locked_out.html", {"minutes": retry_after_s // 60}, status=429)
    page["Retry-After"] = str(retry_after_s)
    return page


def client_address(request: HttpRequest) -> str:
    """Who is at the other end, as the router in front says (it puts its word last); of IPv6 the
    network.

    Without a router whoever asks may say anything; then nothing but the name brakes them
    (docs/security.md).
    """
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    try:
        address = ipaddress.ip_address(forwarded or request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return "0.0.0.0"  # noqa: S104 - nobody's address
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)
