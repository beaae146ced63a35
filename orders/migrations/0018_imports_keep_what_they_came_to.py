from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the tables are written to meanwhile

    dependencies = [
        ("orders", "0017_rows_say_why_in_any_language"),
    ]

    operations = [
        migrations.AddField(
            model_name="import",
            name="ways",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="import",
            name="ways_until",
            field=models.DateTimeField(null=True),
        ),
        AddIndexConcurrently(
            model_name="importorder",
            index=models.Index(fields=["order"], name="import_order_of"),
        ),
    ]
