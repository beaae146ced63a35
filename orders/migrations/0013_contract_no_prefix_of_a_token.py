"""Since the first release nobody has looked for a token by its beginning: the index for that, which
Django makes beside a unique text, was written with every order and read by none.
"""

from django.db import migrations

NAME = 'orders_order_public_token_b96093b3_like'


class Migration(migrations.Migration):
    atomic = False  # the table is written to meanwhile

    dependencies = [
        ('orders', '0012_each_dispute_is_news_once'),
    ]

    operations = [
        migrations.RunSQL(
            f'DROP INDEX CONCURRENTLY IF EXISTS "{NAME}"',
            f'CREATE INDEX CONCURRENTLY "{NAME}" ON "orders_order" ("public_token" text_pattern_ops)',
        ),
    ]
