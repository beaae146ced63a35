"""/livez: this process answers. /readyz: it can take orders; the broker may be away."""

import logging
from collections.abc import Callable

from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from config import celery_app

log = logging.getLogger(__name__)


class HealthChecks:
    """Answers the two before anything else looks at a request: a platform asks by the dyno's own address, which is in
    no ALLOWED_HOSTS, and over plain http.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return CHECKS.get(request.path, self.get_response)(request)


@require_safe
def livez(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 while Postgres answers: an order is safe there, and its bell rings when the broker is back."""
    database = "ok"
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError) as exc:
        log.error("Not ready, Postgres is in trouble: %s", exc)
        database = "down"
    broker = "ok" if celery_app.amqp.bell.answers() else "degraded"
    status = "ok" if database == "ok" else "down"
    return JsonResponse(
        {"status": status, "database": database, "broker": broker}, status=200 if database == "ok" else 503
    )


CHECKS: dict[str, Callable[[HttpRequest], HttpResponse]] = {"/livez": livez, "/readyz": readyz}
