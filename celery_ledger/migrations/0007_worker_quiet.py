from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('celery_ledger', '0006_due_of_owner'),
    ]

    operations = [
        migrations.AddField(
            model_name='worker',
            name='queues',
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name='worker',
            name='quiet_since',
            field=models.DateTimeField(null=True),
        ),
    ]
