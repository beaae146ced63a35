from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the table is written to meanwhile

    dependencies = [
        ('celery_ledger', '0008_shared_losses'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='job',
            index=models.Index(condition=models.Q(('losses__gt', 0), ('shared_losses__gt', 0), _connector='OR'), fields=['started_at'], name='job_lost'),
        ),
    ]
