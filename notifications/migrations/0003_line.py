"""Deliveries to an endpoint in trouble stand in line (docs/adr/0017). The release before this one works with it too."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notifications", "0002_daily_report")]

    operations = [
        migrations.AddField("endpoint", "line_until", models.DateTimeField(null=True)),
        migrations.AddField("delivery", "job", models.UUIDField(null=True)),
    ]
