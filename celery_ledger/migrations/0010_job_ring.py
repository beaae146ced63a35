import datetime

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the table is written to meanwhile

    dependencies = [
        ('celery_ledger', '0009_job_lost'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='job',
            index=models.Index(condition=models.Q(('ring_at__gte', datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)), ('state', 'waiting')), fields=['queue', 'ring_at'], name='job_ring'),
        ),
        RemoveIndexConcurrently(
            model_name='job',
            name='job_ring_by_queue',
        ),
    ]
