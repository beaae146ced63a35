from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0016_newest_charges"),
    ]

    operations = [
        migrations.AddField(
            model_name="importfault",
            name="kept",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="importrow",
            name="fault_kept",
            field=models.JSONField(null=True),
        ),
    ]
