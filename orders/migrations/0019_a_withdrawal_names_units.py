from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0018_imports_keep_what_they_came_to"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="withdrawn_lines",
            field=models.JSONField(null=True),
        ),
    ]
