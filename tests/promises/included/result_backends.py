"""Tasks whose results go elsewhere too, as a shop's developer would write them."""

import os

from celery import current_app, shared_task
from celery.backends.cache import CacheBackend
from celery.backends.redis import RedisBackend
from django.conf import settings

MEMCACHED_URL = os.environ.get("MEMCACHED_URL", "memory://")  # memcached://HOST:PORT/


@shared_task(backend=RedisBackend(app=current_app, url=settings.BROKER_URL))
def into_redis(number: int) -> int:
    return 2 * number


@shared_task(backend=CacheBackend(app=current_app, url=MEMCACHED_URL))
def into_memcached(number: int) -> int:
    return 2 * number
