"""A task whose results go to Redis too, as a shop's developer would write it."""

from celery import current_app, shared_task
from celery.backends.redis import RedisBackend
from django.conf import settings

results = RedisBackend(app=current_app, url=settings.BROKER_URL)


@shared_task(backend=results)
def double(number: int) -> int:
    return 2 * number
