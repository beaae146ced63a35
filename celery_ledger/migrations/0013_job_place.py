from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

CREATE = """CREATE UNIQUE INDEX CONCURRENTLY "job_place" ON "celery_ledger_job" ("concurrency_key", "place")
WHERE ("concurrency_key" IS NOT NULL AND "state" = 'running')"""


class Migration(migrations.Migration):
    atomic = False  # the table is written to meanwhile

    dependencies = [
        ('celery_ledger', '0012_job_limits'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddConstraint(
                    model_name='job',
                    constraint=models.UniqueConstraint(condition=models.Q(('concurrency_key__isnull', False), ('state', 'running')), fields=('concurrency_key', 'place'), name='job_place'),
                ),
            ],
            database_operations=[
                migrations.RunSQL(CREATE, 'DROP INDEX CONCURRENTLY "job_place"'),
            ],
        ),
        AddIndexConcurrently(
            model_name='job',
            index=models.Index(condition=models.Q(('in_line_since__isnull', False)), fields=['concurrency_key', 'created_at'], name='job_in_line'),
        ),
    ]
