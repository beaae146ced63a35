"""The index that a client's list of jobs is read from (docs/adr/0018).

It is made concurrently and stands in the way of no read or write, so it may wait for a long transaction longer than
`manage.py release` allows others. A run that breaks off is begun again: what it left half-made goes first. The release
before this one works with it too.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce

WAIT = "SET lock_timeout = '2min'"
HURRY = "SET lock_timeout = '5s'"  # as `manage.py release` has it
CLIENT = Coalesce(KeyTextTransform("client", "context"), Value("", models.TextField()))
FINISHED = models.Q(state__in=("done", "dead", "cancelled"))


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0003_settings_of_hot_tables")]

    operations = [
        migrations.RunSQL(WAIT, HURRY),
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS job_of_client", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "job", models.Index(CLIENT, F("created_at"), F("id"), name="job_of_client", condition=FINISHED)
        ),
        migrations.RunSQL(HURRY, WAIT),
    ]
