from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('celery_ledger', '0011_pause'),
    ]

    operations = [
        migrations.AddField(
            model_name='job',
            name='concurrency_key',
            field=models.TextField(null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='rate_key',
            field=models.TextField(null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='place',
            field=models.SmallIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='is_wanted',
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name='job',
            name='in_line_since',
            field=models.DateTimeField(null=True),
        ),
    ]
