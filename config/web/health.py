"""/livez: this process answers. /readyz: it can take orders; the broker may be away."""

import logging
import threading
import time
from collections.abc import Callable

from django.db import Error, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from celery_ledger import Job
from config import celery_app
from notifications.models import Event
from orders.models import Order, OrderLine

log = logging.getLogger(__name__)


class HealthChecks:
    """Answers the two before anything else looks at a request: a platform asks by the dyno's own
    address, which is in no ALLOWED_HOSTS, and over plain http.
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
    """200 while an order can be written: it is safe in Postgres, and its bell rings when the broker
    is back.
    """
    database = database_state()
    broker = "ok" if celery_app.amqp.bell.answers() else "degraded"
    status = "ok" if database == OK else "down"
    return JsonResponse(
        {"status": status, "database": database, "broker": broker},
        status=200 if database == OK else 503,
    )


OK, NO_WRITES, DOWN = "ok", "no writes", "down"
# A table needs a file, so a standby, a read-only Postgres and a full disk all refuse it.
WRITE = "CREATE TEMP TABLE kaiten_ready ON COMMIT DROP AS SELECT 1"
MAY_INSERT = "SELECT bool_and(has_table_privilege(name, 'INSERT')) FROM unnest(%s::text[]) AS name"
TAKES_AN_ORDER = [model._meta.db_table for model in (Order, OrderLine, Event, Job)]
KEEP_S = 1.0  # whoever asks more often gets the answer from before

_looked_at, _seen = float("-inf"), DOWN
_looking = threading.Lock()


def database_state() -> str:
    """`ok`; `no writes` for a Postgres that answers but takes no order; `down`. Looks once in
    KEEP_S.
    """
    global _looked_at, _seen
    with _looking:
        if time.monotonic() - _looked_at >= KEEP_S:
            _seen, _looked_at = _look(), time.monotonic()
        return _seen


def _look() -> str:
    answers = False
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(MAY_INSERT, [TAKES_AN_ORDER])
            answers = True
            may_insert = cursor.fetchone()[0]
            cursor.execute(WRITE)
            transaction.set_rollback(True)
    except Error as exc:
        log.error("Not ready, Postgres is in trouble: %s", exc)
        return NO_WRITES if answers else DOWN
    return OK if may_insert else NO_WRITES


CHECKS: dict[str, Callable[[HttpRequest], HttpResponse]] = {"/livez": livez, "/readyz": readyz}
