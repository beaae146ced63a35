from celery import shared_task
from django.db import connection

from tests.promises.dynos.releases.old.models import Parcel


@shared_task(name="packing.pack")
def pack(number: int) -> None:
    Parcel.objects.create(by="pack", number=number)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.1)")


@shared_task(name="packing.weigh")
def weigh(number: int) -> None:
    Parcel.objects.create(by="weigh", number=number)
