"""Deliveries in numbers, for /metrics: the newest ones, which the primary key (a uuid7) has in the
order of time.
"""

from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from notifications.models import Delivery
from notifications.oversight.trouble import troubles

NEWEST = """
SELECT channel, state, count(*)
  FROM (SELECT channel, state FROM notifications_delivery
         ORDER BY id DESC LIMIT %(rows)s) AS delivery
 GROUP BY 1, 2 ORDER BY 1, 2
"""


def families() -> Iterator[Metric]:
    """The metrics of deliveries: by channel and state, and those in trouble."""
    text = f"The newest deliveries, {settings.METRICS_ROWS_MAX} at most"
    deliveries = GaugeMetricFamily("kaiten_deliveries", text, labels=["channel", "state"])
    with connection.cursor() as cursor:
        cursor.execute(NEWEST, {"rows": settings.METRICS_ROWS_MAX})
        for channel, state, number in cursor.fetchall():
            deliveries.add_metric([channel, state], number)
    yield deliveries
    yield _in_trouble()


def _in_trouble() -> Metric:
    text = f"Given up in the last {settings.DELIVERY_TOLD_FOR.days} days, or overdue"
    gauge = GaugeMetricFamily("kaiten_deliveries_in_trouble", text, labels=["channel", "state"])
    found = troubles()
    for channel in Delivery.Channel:
        of_channel = [trouble for trouble in found if trouble.channel == channel]
        gauge.add_metric([channel, "given_up"], sum(one.given_up for one in of_channel))
        gauge.add_metric([channel, "overdue"], sum(one.overdue for one in of_channel))
        gauge.add_metric([channel, "targets"], len(of_channel))
    return gauge
