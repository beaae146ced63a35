"""Secrets that sign side by side, and deliveries that are sent again. The release before this one works with it too."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("notifications", "0004_deliveries_of_an_endpoint")]

    operations = [
        migrations.AddField(
            "endpoint", "secret_ends",
            django.contrib.postgres.fields.ArrayField(models.DateTimeField(), db_default=[], default=list),
        ),
        migrations.AddField("delivery", "resend", models.BooleanField(db_default=False, default=False)),
        migrations.AddField("delivery", "resent_at", models.DateTimeField(null=True)),
    ]  # fmt: skip
