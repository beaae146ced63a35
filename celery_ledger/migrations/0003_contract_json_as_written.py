"""JSON is kept as it was written. A worker of before cannot read these columns, and no release has been
made yet that one could be of: stop whatever runs from an older checkout, then migrate.
"""

import celery_ledger.models.encoding
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('celery_ledger', '0002_chord_nesting'),
    ]

    operations = [
        migrations.AlterField(
            model_name='chord',
            name='body',
            field=celery_ledger.models.encoding.WrittenJSONField(decoder=celery_ledger.models.encoding.CeleryDecoder, encoder=celery_ledger.models.encoding.CeleryEncoder),
        ),
        migrations.AlterField(
            model_name='chordpart',
            name='result',
            field=celery_ledger.models.encoding.WrittenJSONField(decoder=celery_ledger.models.encoding.CeleryDecoder, encoder=celery_ledger.models.encoding.CeleryEncoder, null=True),
        ),
        migrations.AlterField(
            model_name='job',
            name='args',
            field=celery_ledger.models.encoding.WrittenJSONField(decoder=celery_ledger.models.encoding.CeleryDecoder, encoder=celery_ledger.models.encoding.CeleryEncoder),
        ),
        migrations.AlterField(
            model_name='job',
            name='envelope',
            field=celery_ledger.models.encoding.WrittenJSONField(decoder=celery_ledger.models.encoding.CeleryDecoder, encoder=celery_ledger.models.encoding.CeleryEncoder),
        ),
        migrations.AlterField(
            model_name='job',
            name='result',
            field=celery_ledger.models.encoding.WrittenJSONField(decoder=celery_ledger.models.encoding.CeleryDecoder, encoder=celery_ledger.models.encoding.CeleryEncoder, null=True),
        ),
    ]
