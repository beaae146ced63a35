from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('notifications', '0008_headers_of_an_endpoint'),
    ]

    operations = [
        migrations.AddField(
            model_name='event',
            name='mails',
            field=models.SmallIntegerField(null=True),
        ),
    ]
