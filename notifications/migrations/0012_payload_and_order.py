from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0011_channel_chat'),
    ]

    operations = [
        migrations.AddField(
            model_name='delivery',
            name='seq',
            field=models.IntegerField(null=True),
        ),
        migrations.AddField(
            model_name='delivery',
            name='subject',
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name='endpoint',
            name='ordered',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='endpoint',
            name='payload',
            field=models.TextField(choices=[('full', 'Full'), ('thin', 'Thin')], db_default='full', default='full'),
        ),
    ]
