"""/metrics: the shop in numbers as Prometheus reads them, every one asked of Postgres (and the
broker) right now.

Nothing is counted in a process, so it does not matter which of them answers, nor that they come and
go.
"""

from collections.abc import Iterator

from django.conf import settings
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from api.problems import handlers
from celery_ledger import metric_families
from config import celery_app
from notifications.oversight import metrics as of_notifications
from orders import metrics as of_orders


@csrf_exempt
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For whoever holds METRICS_TOKEN; without one there is nothing here."""
    if not settings.METRICS_TOKEN:
        return handlers.for_status(404)
    if not _has_the_token(request):
        return handlers.rendered(
            "unauthenticated",
            "Send METRICS_TOKEN as a bearer token.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    registry = CollectorRegistry()
    registry.register(Shop())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _has_the_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    is_bearer = scheme.lower() == "bearer"
    return is_bearer and constant_time_compare(token.strip(), settings.METRICS_TOKEN)


class Shop(Collector):
    def collect(self) -> Iterator[Metric]:
        yield from _of_postgres()
        yield from _of_the_broker()

    def describe(self) -> list[Metric]:
        return []


def _of_postgres() -> list[Metric]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true)", [settings.METRICS_STATEMENT_TIMEOUT]
        )
        return [*metric_families(), *of_orders.families(), *of_notifications.families()]


def _of_the_broker() -> Iterator[Metric]:
    """After the transaction: the broker is asked over a socket."""
    bells = GaugeMetricFamily(
        "kaiten_broker_bells", "Bells that wait in the broker", labels=["queue"]
    )
    counted = {queue: celery_app.amqp.bell.queued(queue) for queue in celery_app.amqp.queues}
    for queue, number in counted.items():
        if number is not None:
            bells.add_metric([queue], number)
    yield bells
    answers = None not in counted.values()
    yield GaugeMetricFamily("kaiten_broker_up", "1 when the broker answers", int(answers))
