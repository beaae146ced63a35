from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the table is written to meanwhile

    dependencies = [
        ('celery_ledger', '0012_job_limits'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='job',
            index=models.Index(condition=models.Q(('concurrency_key__isnull', False), ('state', 'running')), fields=['concurrency_key'], name='job_of_key'),
        ),
        AddIndexConcurrently(
            model_name='job',
            index=models.Index(condition=models.Q(('in_line_since__isnull', False), ('state', 'waiting')), fields=['concurrency_key', 'created_at'], name='job_in_line'),
        ),
    ]
