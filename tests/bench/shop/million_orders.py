"""A million orders with their lines, written by two statements."""

from typing import Any

from django.db import connection

from orders.models import Client

MILLION = 1_000_000
# The number n counts from the oldest order; one comes each 30 seconds, the newest a minute ago.
ORDERS = """
INSERT INTO orders_order (
    id, number, public_token, client_id, external_id, state, reason, held, version, currency, total,
    shipping_amount, shipping_tax, captured, refunded, charge_state, units, units_fulfilled, email,
    locale, payment_token, metadata, created_at, updated_at, customer_name, customer_phone,
    shipping_address, tags)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008000'
        || lpad(to_hex(n), 12, '0'))::uuid,
       overlay(translate(lpad(n::text, 8, '0'), '0123456789', 'ABCDEFGHJK')
               PLACING '-' FROM 5 FOR 0),
       'token-' || n,
       %(client)s, 'shop-' || n,
       CASE WHEN n %% 33 = 0 THEN 'cancelled' WHEN n > %(open)s OR n %% 9973 = 0 THEN 'confirmed'
            ELSE 'completed' END,
       '', n %% 20011 = 0, 5, 'JPY', 1000, 0, 0,
       CASE WHEN n %% 33 = 0 THEN 0 ELSE 1000 END, CASE WHEN n %% 50021 = 0 THEN 1000 ELSE 0 END,
       CASE WHEN n %% 33 = 0 THEN 'failed' ELSE 'none' END,
       2, CASE WHEN n %% 33 = 0 OR n > %(open)s THEN 0 WHEN n %% 9973 = 0 THEN 1 ELSE 2 END,
       CASE WHEN n %% 200 = 0 THEN 'Often@Example.com'
            ELSE 'c' || n %% 100000 || '@example.com' END,
       'ja', 'tok_ok', '{}', at, at + interval '1 day' * (n %% 7),
       CASE n %% 67 WHEN 0 THEN '佐藤 花' WHEN 1 THEN '佐藤　太郎'
            ELSE 'Customer ' || n %% 90001 END,
       '+81 90 ' || lpad((n %% 80021)::text, 8, '0'),
       jsonb_build_object('name', '佐藤 花', 'line1', '神南1-2-3', 'line2', '寿司ビル 4F',
                          'city', '渋谷区', 'region', '東京都', 'postal_code', '150-0041',
                          'country', 'JP', 'phone', '03-1234-5678'),
       CASE WHEN n %% 100 = 0 THEN '{gift}' WHEN n %% 10007 = 0 THEN '{vip,loud}' END::text[]
  FROM generate_series(1, %(orders)s) AS n,
       LATERAL (SELECT now() - interval '30 s' * (%(orders)s - n + 2) AS at) AS moment
"""
LINES = """
INSERT INTO orders_orderline (order_id, position, stock_id, sku, name, quantity, unit_price,
                              discount, tax)
SELECT id, 0, %(stock)s,
       CASE WHEN n %% 5 = 0 THEN 'HOT' WHEN n %% 50021 = 0 THEN 'RARE' ELSE 'SKU-' || n %% 997 END,
       'n', 2, 500, 0, 0
  FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM orders_order) AS numbered
"""


def fill(shop: Client, stock: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(
            "SELECT set_config(name, '0', false) FROM pg_settings "
            "WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout')"
        )
        values: dict[str, Any] = {"client": shop.pk, "orders": MILLION, "open": MILLION - 500}
        cursor.execute(ORDERS, values)
        cursor.execute(LINES, {"stock": stock.pk})
        cursor.execute("VACUUM ANALYZE orders_order")
        cursor.execute("VACUUM ANALYZE orders_orderline")
