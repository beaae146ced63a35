"""Imported before models are, by whatever Celery loads of the ledger: `celery call` and the other
commands of Celery's program know nothing of Django.
"""

import django
from django.apps import apps

if not apps.ready and not apps.loading:  # in the middle of Django's own setup nobody asks for these
    django.setup()
