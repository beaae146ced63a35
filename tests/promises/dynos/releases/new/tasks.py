from celery import shared_task

from tests.promises.dynos.releases.new.models import Parcel


@shared_task(name="packing.pack")
def pack(number: int) -> None:
    Parcel.objects.create(by="pack", number=number, colour="red")


@shared_task(name="packing.label")
def label(number: int) -> None:
    Parcel.objects.create(by="label", number=number, colour="red")
