from celery import shared_task

from tests.bench.peers.work import count


@shared_task
def count_durably(number: int) -> None:
    count(number)
