from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("unsafe", "0002_a_column_that_the_old_release_does_not_fill")]
    operations = [migrations.AddIndex("parcel", models.Index(fields=["number"], name="by_number"))]
