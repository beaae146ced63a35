from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("unsafe", "0004_a_column_of_another_name")]
    operations = [migrations.AlterField("parcel", "number", models.TextField())]
