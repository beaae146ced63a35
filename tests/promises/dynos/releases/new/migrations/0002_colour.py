from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("packing", "0001_initial")]
    operations = [migrations.AddField("parcel", "colour", models.TextField(db_default="brown"))]
