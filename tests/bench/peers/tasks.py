from celery import shared_task

from tests.bench.peers.work import count


@shared_task
def count_durably(number: int) -> None:
    count(number)


@shared_task(batched=False)
def count_by_itself(number: int, key: int) -> None:
    count(number)


@shared_task(concurrency="bench:{key}=1000")
def count_in_a_place(number: int, key: int) -> None:
    count(number)


@shared_task(rate_limit="bench:{key}=1000000/s")
def count_in_a_slot(number: int, key: int) -> None:
    count(number)
