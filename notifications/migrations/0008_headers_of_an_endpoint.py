from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0007_events_in_order'),
    ]

    operations = [
        migrations.AddField(
            model_name='endpoint',
            name='headers',
            field=models.JSONField(db_default={}, default=dict),
        ),
    ]
