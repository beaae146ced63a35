"""Gathers jobs that are promised in one block, so that one statement writes all their rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from celery_ledger.models import Job


@dataclass(frozen=True, slots=True)
class Promise:
    """A job that is to be written."""

    job: Job
    id: str  # in Celery
    once: bool  # an id that is taken is no error: that job is the one
    say_after: Callable[[], Any]  # sends Celery's signal when the row is written


Write = Callable[[list[Promise]], None]  # writes the rows of promises


@dataclass
class _Block:
    """An open block and the promises that are to be written at its end."""

    began_in: tuple[bool, list[str]]  # what `_here` was when it began
    promises: list[tuple[Write, Promise]] = field(default_factory=list)


_block: ContextVar[_Block | None] = ContextVar("ledger_together", default=None)


@contextmanager
def together() -> Iterator[None]:
    """Write the jobs promised in this block at its end, by one statement, in the caller's
    transaction or a new one. If an error leaves the block, none is written.

    A job that is promised within a savepoint of the block is written at once, since the savepoint
    may be rolled back. An id that is taken raises at the end of the block. A block within another
    is part of that one.
    """
    with transaction.atomic(savepoint=False), gathered():
        yield


@contextmanager
def gathered() -> Iterator[None]:
    """As `together`, for a block that does nothing but promise jobs: no transaction is open in it
    until the jobs are written.
    """
    if _is_open():
        yield
        return
    block = _Block(_here())
    remembered = _block.set(block)
    try:
        yield
    finally:
        _block.reset(remembered)
    if block.promises:
        write, _ = block.promises[0]
        write([promise for _, promise in block.promises])


class Producers:
    """Celery's pool of producers. While one is held, jobs are gathered: Celery holds one for a
    call, or for all calls of a group.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    @contextmanager
    def acquire(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with self._pool.acquire(*args, **kwargs) as producer, gathered():
            yield producer


def waits_for_its_block(write: Write, promise: Promise) -> bool:
    """Add the promise to the open block, if there is one, to be written at its end by the `write`
    of the block's first promise. Returns whether there is one.
    """
    block = _block.get()
    if block is None or not _is_open():
        return False
    block.promises.append((write, promise))
    return True


def _is_open() -> bool:
    """Whether there is an open block, and no transaction or savepoint has begun in it."""
    block = _block.get()
    return block is not None and block.began_in == _here()


def _here() -> tuple[bool, list[str]]:
    """Whether a transaction is open, and the names of its open savepoints. Django lists None for an
    `atomic` block without a savepoint; it is left out.
    """
    savepoints = [savepoint for savepoint in connection.savepoint_ids if savepoint]
    return connection.in_atomic_block, savepoints
