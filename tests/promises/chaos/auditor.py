"""The books, compared after everything has come to rest. Each audit must return no row."""

from collections import Counter
from typing import Any

from django.db import connection

from tests.edges import WebhookSink

AUDITS = {
    "I1 an accepted order has its row, its event and its first job": """
        SELECT o.id FROM orders_order o
         WHERE NOT EXISTS (SELECT 1 FROM notifications_event e WHERE e.subject = o.id AND e.seq = 1)
            OR NOT EXISTS (SELECT 1 FROM jobs_job j WHERE j.task = 'orders.tasks.reserve'
                           AND j.args -> 0 ->> 0 = o.id::text)""",
    "I2 done means exactly one effect, anything else none": """
        SELECT j.id, j.state, count(t.number) FROM jobs_job j LEFT JOIN tally t ON t.number = (j.args -> 0 ->> 0)::int
         WHERE j.task = 'tests.promises.tasks.tally' GROUP BY j.id, j.state
        HAVING count(t.number) <> CASE j.state WHEN 'done' THEN 1 ELSE 0 END""",
    "I3 nothing runs any more": "SELECT id, task FROM jobs_job WHERE state = 'running'",
    "I5 nothing due waits any more": "SELECT id, task FROM jobs_job WHERE state = 'waiting' AND due_at < now()",
    "I7 only a job that cost three workers is dead": """
        SELECT id, task, error FROM jobs_job WHERE state = 'dead' AND losses < 3""",
    "I8 one charge per order": """
        SELECT metadata ->> 'order', count(*) FROM orders_sandboxcharge GROUP BY 1 HAVING count(*) > 1""",
    "I8 our books and the provider's say the same": """
        SELECT o.number, o.captured, c.amount, c.status FROM orders_order o
          LEFT JOIN orders_sandboxcharge c ON c.key = o.id || '-charge'
         WHERE NOT o.held AND o.captured <> CASE WHEN c.status = 'succeeded' THEN c.amount ELSE 0 END""",
    "I9 stock is the sum of its movements": """
        SELECT s.sku FROM orders_stock s LEFT JOIN orders_stockmovement m ON m.stock_id = s.id GROUP BY s.id
        HAVING s.on_hand <> coalesce(sum(m.on_hand_delta), 0) OR s.reserved <> coalesce(sum(m.reserved_delta), 0)""",
    "I9 what is reserved belongs to orders that hold it": """
        SELECT o.number FROM orders_order o JOIN orders_orderline l ON l.order_id = o.id
          LEFT JOIN orders_stockmovement m ON m.order_id = o.id
         GROUP BY o.id HAVING coalesce(sum(m.reserved_delta), 0)
                <> CASE WHEN o.state IN ('reserved', 'confirmed') THEN sum(l.quantity) ELSE 0 END""",
    "I10 every order has ended or stands on the desk": """
        SELECT number, state FROM orders_order WHERE state NOT IN ('confirmed', 'cancelled') AND NOT held""",
    "I11 every event is delivered to everybody who wanted it": """
        SELECT d.id, d.channel, d.state FROM notifications_delivery d
         WHERE d.state <> 'delivered'
           AND NOT EXISTS (SELECT 1 FROM jobs_job j WHERE j.state = 'dead' AND j.args -> 0 ->> 0 = d.id::text)""",
    "the version of an order counts its events": """
        SELECT o.number FROM orders_order o LEFT JOIN notifications_event e ON e.subject = o.id
         GROUP BY o.id HAVING o.version <> count(e.id) OR o.version <> max(e.seq)""",
}


def violations() -> dict[str, list[Any]]:
    """The rows that break an invariant, by its name; empty when all is well."""
    found = {}
    with connection.cursor() as cursor:
        for name, sql in AUDITS.items():
            cursor.execute(sql)
            if rows := cursor.fetchall():
                found[name] = rows[:5]
    return found


def webhook_violations(sink: WebhookSink) -> list[str]:
    """What the customer's server heard: one body per webhook-id, and each delivered delivery at least once."""
    bodies: dict[str, set[bytes]] = {}
    for headers, body in sink.heard:
        bodies.setdefault(headers["webhook-id"], set()).add(body)
    said = [f"{id_} came with {len(different)} bodies" for id_, different in bodies.items() if len(different) > 1]
    with connection.cursor() as cursor:
        cursor.execute("SELECT id::text FROM notifications_delivery WHERE channel = 'webhook' AND state = 'delivered'")
        said += [f"{id_} was never heard" for (id_,) in cursor.fetchall() if id_ not in bodies]
    return said


def answer_violations(answers: list[tuple[str, int, str]], orders: set[str]) -> list[str]:
    """What clients were told: (key, status, order id). One order per key, and every order we accepted exists."""
    accepted: dict[str, set[str]] = {}
    for key, status, order in answers:
        if status == 202:
            accepted.setdefault(key, set()).add(order)
    said = [f"{key} got {len(got)} orders" for key, got in accepted.items() if len(got) > 1]
    said += [f"order {order} was accepted and is gone" for got in accepted.values() for order in got - orders]
    strange = Counter(status for _, status, _ in answers if status not in (202, 409, 503))
    return said + [f"{count} answers of status {status}" for status, count in strange.items()]
