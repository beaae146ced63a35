"""Jobs that are promised together: one statement writes the rows of all of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from celery_ledger.models import Job


@dataclass(frozen=True, slots=True)
class Promise:
    """A job that was asked for: its row, Celery's id of it, whether there may be one already, and
    what Celery says when it is written.
    """

    job: Job
    id: str
    once: bool
    say_after: Callable[[], Any]


Write = Callable[[list[Promise]], None]


@dataclass
class _Block:
    """What waits for its end, and where it began: whether in a transaction, in which savepoints."""

    began_in: tuple[bool, list[str]]
    promises: list[tuple[Write, Promise]] = field(default_factory=list)


_block: ContextVar[_Block | None] = ContextVar("ledger_together", default=None)


@contextmanager
def together() -> Iterator[None]:
    """Jobs promised in this block are written at its end, by one statement, in the caller's
    transaction or in one of the block's own. None is when the block is left by an error.

    What is promised within a savepoint of the block is written at once, since that savepoint may be
    rolled back. An id that is taken is found at the end. A block within another is part of it.
    """
    with transaction.atomic(savepoint=False), gathered():
        yield


@contextmanager
def gathered() -> Iterator[None]:
    """As `together`, for a block that touches nothing but jobs: it has a transaction only while it
    writes them.
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
    """Celery's producers to the broker, as it takes one for each call, and for all calls of a group
    together.
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
    """Whether this promise will be written together with others, by what writes the first."""
    block = _block.get()
    if block is None or not _is_open():
        return False
    block.promises.append((write, promise))
    return True


def _is_open() -> bool:
    """Whether there is a block here, and no transaction or savepoint has begun in it."""
    block = _block.get()
    return block is not None and block.began_in == _here()


def _here() -> tuple[bool, list[str]]:
    """The savepoints that are open; a transaction within another that makes none stands there as
    None.
    """
    savepoints = [savepoint for savepoint in connection.savepoint_ids if savepoint]
    return connection.in_atomic_block, savepoints
