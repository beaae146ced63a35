from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("unsafe", "0003_an_index_that_locks_the_table")]
    operations = [migrations.RenameField("parcel", "colour", "paint")]
