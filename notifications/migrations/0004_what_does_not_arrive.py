from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # CONCURRENTLY: nobody who writes waits for it

    dependencies = [
        ('notifications', '0003_circuit'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'failed'), models.Q(('state', 'waiting'), ('tries__gt', 0)), _connector='OR'), fields=['id'], name='delivery_in_trouble'),
        ),
        AddIndexConcurrently(
            model_name='endpoint',
            index=models.Index(condition=models.Q(('failing_since__isnull', False), ('disabled_at__isnull', False), _connector='OR'), fields=['id'], name='endpoint_in_trouble'),
        ),
    ]
