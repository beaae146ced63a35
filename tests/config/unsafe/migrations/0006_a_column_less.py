from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("unsafe", "0005_a_column_of_another_type")]
    operations = [migrations.RemoveField("parcel", "paint")]
