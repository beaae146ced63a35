"""Tasks for the ledger's tests. Their effects are rows: a Client named by the test."""

from celery import Task, shared_task

from jobs.execution import settle
from orders.clients import Client


class Passing(Exception):
    """A failure that goes away."""


@shared_task
def add(x: int, y: int) -> int:
    return x + y


@shared_task
def note(name: str) -> str:
    Client.objects.create(name=name)
    return name


@shared_task
def note_then_fail(name: str) -> None:
    Client.objects.create(name=name)
    raise ValueError("no such luck")


@shared_task(atomic=False)
def note_outside(name: str) -> None:
    with settle() as settlement:
        Client.objects.create(name=name)
        settlement.result = f"settled {name}"


@shared_task(atomic=False)
def settle_twice() -> None:
    with settle():
        pass
    with settle():
        pass


@shared_task(autoretry_for=(Passing,), max_retries=2, retry_backoff=1)
def fail_for_a_while(times: int) -> str:
    if Client.objects.count() or fail_for_a_while.request.retries < times:
        raise Passing(f"failure {fail_for_a_while.request.retries}")
    return "at last"


@shared_task(bind=True)
def come_back(self: Task, x: int) -> int:
    if self.request.retries == 0:
        raise self.retry(args=(x + 1,), countdown=60)
    return x


@shared_task
def speak(size: int) -> str:
    return "x" * size
