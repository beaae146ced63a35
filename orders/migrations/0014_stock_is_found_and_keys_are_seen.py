import django.db.models.deletion
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Collate

from orders.models.placed.finding import Folded


class Migration(migrations.Migration):
    atomic = False  # the tables are written to meanwhile

    dependencies = [
        ('orders', '0013_contract_no_prefix_of_a_token'),
    ]

    operations = [
        migrations.AddField(
            model_name='apikey',
            name='last_used_at',
            field=models.DateTimeField(null=True),
        ),
        AddIndexConcurrently(
            model_name='stock',
            index=models.Index(Collate(Folded('sku'), 'C'), condition=models.Q(removed_at=None), name='stock_by_sku'),
        ),
        AddIndexConcurrently(
            model_name='stock',
            index=models.Index(Collate(Folded('name'), 'C'), condition=models.Q(removed_at=None), name='stock_by_name'),
        ),
        AddIndexConcurrently(
            model_name='stockmovement',
            index=models.Index(fields=['stock', '-id'], name='stock_movement_of'),
        ),
        # which takes the place of the one that was Django's own
        migrations.AlterField(
            model_name='stockmovement',
            name='stock',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='movements', to='orders.stock'),
        ),
    ]
