from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # the table is written to meanwhile

    dependencies = [
        ("orders", "0015_staffs_remarks"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="sandboxcharge",
            index=models.Index(fields=["created_at"], name="sandbox_charge_at"),
        ),
    ]
