from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the table is written to meanwhile

    dependencies = [
        ('celery_ledger', '0004_priority'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='job',
            index=models.Index(condition=models.Q(('state', 'waiting'), models.Q(('priority', 0), _negated=True)), fields=['queue', '-priority', 'due_at'], name='job_priority'),
        ),
    ]
