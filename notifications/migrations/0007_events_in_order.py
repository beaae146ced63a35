import django.db.models.functions.comparison
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    atomic = False  # CONCURRENTLY: nobody who writes waits for it

    dependencies = [
        ('notifications', '0006_what_was_answered'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='event',
            index=models.Index(models.F('owner'), models.F('kind'), django.db.models.functions.comparison.Coalesce('recorded_at', 'at'), models.F('id'), name='event_told'),
        ),
    ]
