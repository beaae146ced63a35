"""Sets Django up when it is imported. The modules that Celery loads by name import it before any
model, since `celery call` and other commands of the `celery` program do not set Django up.
"""

import django
from django.apps import apps

if not apps.ready and not apps.loading:  # while Django sets itself up, there is nothing to do
    django.setup()
