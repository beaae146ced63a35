import notifications.models.changes
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0005_shop_reply_to'),
    ]

    operations = [
        migrations.AddField(
            model_name='attempt',
            name='duration_ms',
            field=models.IntegerField(null=True),
        ),
        migrations.AddField(
            model_name='attempt',
            name='body',
            field=models.TextField(null=True),
        ),
        migrations.AddField(
            model_name='attempt',
            name='request_headers',
            field=models.JSONField(null=True),
        ),
        # first without a default, so that no row is written anew
        migrations.AddField(
            model_name='event',
            name='recorded_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AlterField(
            model_name='event',
            name='recorded_at',
            field=models.DateTimeField(db_default=notifications.models.changes.Written(), null=True),
        ),
    ]
