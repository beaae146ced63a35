"""Tasks for the ledger's tests. Their effects are rows: a Note named by the test."""

import time
from typing import Any

from celery import Task, chord, group, shared_task
from django.contrib.auth.models import Group as Note
from django.db import connection

from celery_ledger import note_effect, outside, settle


class Passing(Exception):
    """A failure that goes away."""


@shared_task(cancellable=True)
def add(x: int, y: int) -> int:
    return x + y


@shared_task
def note(name: str) -> str:
    Note.objects.create(name=name)
    return name


@shared_task
def note_then_fail(name: str) -> None:
    Note.objects.create(name=name)
    raise ValueError("no such luck")


@shared_task
def fail_with(message: str) -> None:
    raise ValueError(message)


@shared_task(atomic=False)
def note_outside(name: str) -> None:
    with settle() as settlement:
        Note.objects.create(name=name)
        settlement.result = f"settled {name}"


@shared_task(atomic=False)
def settle_twice() -> None:
    with settle():
        pass
    with settle():
        pass


@shared_task(autoretry_for=(Passing,), max_retries=2, retry_backoff=1)
def fail_for_a_while(times: int) -> str:
    if Note.objects.count() or fail_for_a_while.request.retries < times:
        raise Passing(f"failure {fail_for_a_while.request.retries}")
    return "at last"


@shared_task(bind=True)
def come_back(self: Task, x: int) -> int:
    if self.request.retries == 0:
        raise self.retry(args=(x + 1,), countdown=60)
    return x


@shared_task(bind=True)
def come_back_once(self: Task, name: str) -> None:
    if self.request.retries == 0:
        raise self.retry(exc=Passing("not yet"), countdown=60)
    note_effect("note", Note.objects.create(name=name))


@shared_task
def speak(size: int) -> str:
    return "x" * size


@shared_task
def nothing() -> None:
    """Takes no argument, so as a link_error it cannot be called."""


@shared_task
def note_failure(request: Any, exc: Exception, traceback: None) -> None:
    """An errback in Celery's newer form."""
    Note.objects.create(
        name=f"{request.id} {request.task} {request.args} {type(exc).__name__}: {exc}"
    )


@shared_task(atomic=False)
def note_failure_outside(request: Any, exc: Exception, traceback: None, mark: str) -> None:
    assert not connection.in_atomic_block
    with settle():
        Note.objects.create(name=f"{mark}{request.id}")


@shared_task(bind=True)
def count_down(self: Task, x: int) -> int:
    """Replaces itself with another call of itself, and writes a row each time."""
    Note.objects.create(name=f"at {x}")
    if x:
        raise self.replace(count_down.s(x - 1))
    return 0


@shared_task(bind=True)
def become(self: Task, *numbers: int, shape: str = "task") -> None:
    shapes = {
        "task": lambda: add.si(40, 2),
        "chain": lambda: add.si(20, 1) | add.s(21),
        "group": lambda: group(add.si(40, 2), add.si(1, 1)),
        "chord": lambda: chord([add.si(20, 1), add.si(20, 1)], total.s()),
    }
    raise self.replace(shapes[shape]())


@shared_task(bind=True, atomic=False)
def become_outside(self: Task) -> None:
    raise self.replace(add.si(40, 2))


@shared_task(bind=True, atomic=False)
def settle_and_become(self: Task, name: str) -> None:
    with settle():
        Note.objects.create(name=name)
        raise self.replace(add.si(40, 2))


@shared_task
def factorial(x: int) -> int:
    return x * factorial(x - 1) if x > 1 else 1


@shared_task(bind=True)
def come_back_with_nonsense(self: Task, x: float = 0.0) -> None:
    raise self.retry(args=(float("nan"),), countdown=60)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@shared_task
def fail_unspeakably(kind: str) -> None:
    raise Unspeakable if kind == "broken" else ValueError("half a pair: \ud800 and a \x00")


@shared_task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@shared_task
def listed(things: list[object]) -> list[object]:
    return things


@shared_task
def flat(lists: list[list[int]]) -> list[int]:
    return [number for numbers in lists for number in numbers]


@shared_task
def add_all(numbers: list[int], extra: int) -> int:
    return sum(numbers) + extra


@shared_task
def slow_add(x: int, y: int) -> int:
    time.sleep(0.05)
    return x + y


@shared_task(key="note:{name}")
def note_once(name: str, loud: bool = False) -> str:
    Note.objects.create(name=f"{name} {loud}")
    return name


@shared_task(bind=True, key="{x}", max_retries=3)
def retry_once(self: Task, x: int) -> int:
    if self.request.retries == 0:
        raise self.retry(countdown=60)
    return x


@shared_task(atomic=False, threaded=True)
def call(number: int) -> int:
    with outside():
        return number


@shared_task(atomic=False, threaded=True)
def call_while_settling() -> None:
    with settle(), outside():
        pass


@shared_task(atomic=False, threaded=True)
def call_in_vain() -> None:
    with outside():
        raise ValueError("nobody there")
