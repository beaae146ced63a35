"""Since when an endpoint listens to its events. The release before this one works with it too."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("notifications", "0006_asked_for_again")]

    operations = [migrations.AddField("endpoint", "listens_since", models.DateTimeField(db_default=Now()))]
