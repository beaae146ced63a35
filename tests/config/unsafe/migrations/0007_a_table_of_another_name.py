from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("unsafe", "0006_a_column_less")]
    operations = [migrations.RenameModel("Parcel", "Box")]
