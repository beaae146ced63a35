"""/livez: this process answers. /readyz: it can take orders; the broker may be away."""

import logging

from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from config import celery_app

log = logging.getLogger(__name__)


@csrf_exempt
@require_safe
def livez(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@csrf_exempt
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
