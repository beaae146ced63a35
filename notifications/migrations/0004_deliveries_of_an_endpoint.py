"""The deliveries of an endpoint, newest first, and those among them that have not arrived.

The indexes are made and dropped concurrently and stand in the way of no read or write, so they may wait for a long
transaction longer than `manage.py release` allows others. A run that breaks off is begun again: what it left half-made
goes first. The release before this one works with them too.
"""

import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

WAIT = "SET lock_timeout = '2min'"
HURRY = "SET lock_timeout = '5s'"  # as `manage.py release` has it
BY_DJANGO = "notifications_delivery_endpoint_id_846da2ab"  # the foreign key's index: the first of the new ones does for it


def added(name: str, fields: list[str], condition: models.Q) -> list[Operation]:
    return [
        migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", migrations.RunSQL.noop),
        AddIndexConcurrently("delivery", models.Index(name=name, fields=fields, condition=condition)),
    ]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("notifications", "0003_line")]

    operations = [
        migrations.RunSQL(WAIT, HURRY),
        *added("delivery_of_endpoint", ["endpoint", "id"], models.Q(endpoint__isnull=False)),
        *added(
            "delivery_undelivered", ["endpoint", "state", "id"],
            models.Q(endpoint__isnull=False, state__in=("waiting", "failed")),
        ),
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    f"DROP INDEX CONCURRENTLY IF EXISTS {BY_DJANGO}",
                    f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {BY_DJANGO} ON notifications_delivery (endpoint_id)",
                )
            ],
            [
                migrations.AlterField(
                    "delivery", "endpoint",
                    models.ForeignKey(
                        "notifications.endpoint", on_delete=django.db.models.deletion.SET_NULL, null=True,
                        related_name="deliveries", db_index=False,
                    ),
                )
            ],
        ),
        migrations.RunSQL(HURRY, WAIT),
    ]  # fmt: skip
