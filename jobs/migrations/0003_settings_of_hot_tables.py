"""The indexes that `bin/bench -k million` argues for (docs/adr/0011); it argues for no storage parameter.

They are made and dropped concurrently and stand in the way of no read or write, so they may wait for a long transaction
longer than `manage.py release` allows others. A run that breaks off is begun again: what it left half-made goes first.
The release before this one works with them too.
"""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

WAIT = "SET lock_timeout = '2min'"
HURRY = "SET lock_timeout = '5s'"  # as `manage.py release` has it


def added(name: str, fields: list[str], condition: models.Q) -> list[Operation]:
    return [
        migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", migrations.RunSQL.noop),
        AddIndexConcurrently("job", models.Index(name=name, fields=fields, condition=condition)),
    ]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0002_canvas_schedules_and_history")]

    operations = [
        migrations.RunSQL(WAIT, HURRY),
        *added("job_ring_by_queue", ["queue", "ring_at"], models.Q(state="waiting")),
        RemoveIndexConcurrently("job", "job_ring"),
        *added("job_revivable", ["state", "created_at", "id"], models.Q(state__in=("dead", "cancelled"))),
        RemoveIndexConcurrently("worker", "worker_seen"),
        migrations.RunSQL(HURRY, WAIT),
    ]
