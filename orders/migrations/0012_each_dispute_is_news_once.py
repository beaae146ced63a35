import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0009_files_as_people_have_them'),
    ]

    operations = [
        migrations.AddField(
            model_name='paymentoperation',
            name='disputes',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), null=True, size=None),
        ),
    ]
