"""Deliveries in numbers, for /metrics: the newest ones, which the primary key (a uuid7) has in the
order of time.
"""

from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

NEWEST = """
SELECT channel, state, count(*)
  FROM (SELECT channel, state FROM notifications_delivery
         ORDER BY id DESC LIMIT %(rows)s) AS delivery
 GROUP BY 1, 2 ORDER BY 1, 2
"""


def families() -> Iterator[Metric]:
    text = f"The newest deliveries, {settings.METRICS_ROWS_MAX} at most"
    deliveries = GaugeMetricFamily("kaiten_deliveries", text, labels=["channel", "state"])
    with connection.cursor() as cursor:
        cursor.execute(NEWEST, {"rows": settings.METRICS_ROWS_MAX})
        for channel, state, number in cursor.fetchall():
            deliveries.add_metric([channel, state], number)
    yield deliveries
