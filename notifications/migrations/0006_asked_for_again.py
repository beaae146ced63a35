"""What was asked for again, found by an index that is empty but for that.

It is made concurrently and stands in the way of no read or write, so it may wait for a long transaction longer than
`manage.py release` allows others. A run that breaks off is begun again: what it left half-made goes first. The release
before this one works with it too.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

WAIT = "SET lock_timeout = '2min'"
HURRY = "SET lock_timeout = '5s'"  # as `manage.py release` has it


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("notifications", "0005_resending")]

    operations = [
        migrations.RunSQL(WAIT, HURRY),
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS delivery_asked_for", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "delivery",
            models.Index(name="delivery_asked_for", fields=["endpoint", "id"], condition=models.Q(resend=True)),
        ),
        migrations.RunSQL(HURRY, WAIT),
    ]
