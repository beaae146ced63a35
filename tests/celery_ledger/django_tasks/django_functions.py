"""Functions of Django's own tasks, as an app would have them in its tasks.py."""

import asyncio
from typing import Any

from django.contrib.auth.models import Group as Note
from django.db import connection
from django.tasks import TaskContext, task

from celery_ledger.execution.settling import settle

tries: list[int] = []


@task
def note(name: str) -> str:
    Note.objects.create(name=name)
    return name


@task(takes_context=True)
def note_with_context(context: "TaskContext[..., Any]", name: str) -> list[Any]:
    Note.objects.create(name=name)
    return [context.task_result.id, context.attempt, context.task_result.args]


@task
async def note_async(name: str) -> str:
    await Note.objects.acreate(name=name)
    await asyncio.sleep(0)
    return name


@task
def note_and_fail(name: str) -> None:
    Note.objects.create(name=name)
    raise LookupError(f"no {name}")


@task(max_attempts=3)  # type: ignore[call-overload, untyped-decorator]
def fail_twice(name: str) -> str:
    tries.append(len(tries))
    if len(tries) < 3:
        raise OSError("not yet")
    return name


@task(atomic=False)  # type: ignore[call-overload, untyped-decorator]
def note_outside(name: str) -> str:
    assert not connection.in_atomic_block
    with settle(name):
        Note.objects.create(name=name)
    return name


@task(key="invoice:{order}", time_limit=10, rate_limit="1000/s", queue="outside")  # type: ignore[call-overload, untyped-decorator]
def note_once(order: int) -> int:
    Note.objects.create(name=str(order))
    return order


@task
def give(value: Any) -> Any:
    return {"value": value}


@task(concurrency="greet {name}=1")  # type: ignore[call-overload, untyped-decorator]
def greet(name: str) -> str:
    return f"Hello, {name}"
