from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # CONCURRENTLY: nobody who writes waits for it

    dependencies = [
        ('notifications', '0012_payload_and_order'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(condition=models.Q(('subject__isnull', False), models.Q(('state', 'waiting'), ('resend', True), _connector='OR')), fields=['endpoint', 'subject', 'seq'], name='delivery_in_order'),
        ),
    ]
