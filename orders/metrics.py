"""Numbers of orders, for /metrics: of the newest ones, which the primary key (a uuid7) has in the
order of time.
"""

from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

NEWEST = """
SELECT state, count(*), count(*) FILTER (WHERE held)
  FROM (SELECT state, held FROM orders_order ORDER BY id DESC LIMIT %(rows)s) AS placed
 GROUP BY 1 ORDER BY 1
"""


def families() -> Iterator[Metric]:
    newest = f"the newest {settings.METRICS_ROWS_MAX}"
    orders = GaugeMetricFamily("kaiten_orders", f"Orders by state, of {newest}", labels=["state"])
    with connection.cursor() as cursor:
        cursor.execute(NEWEST, {"rows": settings.METRICS_ROWS_MAX})
        rows = cursor.fetchall()
    for state, number, _ in rows:
        orders.add_metric([state], number)
    yield orders
    held = sum(number for *_, number in rows)
    yield GaugeMetricFamily(
        "kaiten_orders_held", f"Orders that wait for a person, of {newest}", held
    )
