from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("unsafe", "0007_a_table_of_another_name")]
    operations = [migrations.DeleteModel("Box")]
