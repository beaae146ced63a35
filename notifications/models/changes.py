"""When a row was written, and up to when nobody can write one before it any more.

Whoever reads what has changed since a moment must not get past a change that is not committed yet.
A change is stamped in a transaction that has its id already, so a snapshot that does not show it
either names that transaction as under way, which began before the stamp, or is older than the
stamp.
"""

from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.models import DateTimeField, Func


class Written(Func):
    """Now, by Postgres' clock, once the transaction has its id: CASE asks for that first."""

    template = "CASE WHEN pg_current_xact_id() IS NOT NULL THEN clock_timestamp() END"
    output_field = DateTimeField()


# Transactions in another database change nothing here, nor do Postgres' own that vacuum. When one
# began that our role may not see, nobody tells: it counts as `patience` old, as none of ours is.
SETTLED = """
SELECT least(statement_timestamp(),
             min(coalesce(xact_start, statement_timestamp() - %(patience)s::interval)))
  FROM pg_snapshot_xip(pg_current_snapshot()) AS under_way (xid)
  LEFT JOIN pg_stat_activity ON backend_xid = under_way.xid::xid
 WHERE (datname IS NULL OR datname = current_database())
   AND backend_type IS DISTINCT FROM 'autovacuum worker'
"""


def settled_until() -> datetime:
    """The moment before which no change is missing: each that is older can be read."""
    with connection.cursor() as cursor:
        cursor.execute(SETTLED, {"patience": f"{settings.CHANGES_SETTLE.total_seconds()} s"})
        moment: datetime = cursor.fetchone()[0]
    return moment
