"""On whose behalf this thread works: e.g. the request id, which a job inherits and every log line
shows.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_gathers: ContextVar[bool] = ContextVar("ledger_gathers", default=False)
_context: ContextVar[Mapping[str, str]] = ContextVar("ledger_context", default=MappingProxyType({}))


def current() -> Mapping[str, str]:
    """What is known now, e.g. {"request_id": "8c1f…", "owner": "0198…"}."""
    return _context.get()


@contextmanager
def bound(**added: str | None) -> Iterator[None]:
    """Add to what is known, for the length of the block; None adds nothing."""
    merged = {
        **_context.get(),
        **{name: value for name, value in added.items() if value is not None},
    }
    token = _context.set(merged)
    try:
        yield
    finally:
        _context.reset(token)


@contextmanager
def replaced(values: Mapping[str, str]) -> Iterator[None]:
    """Know exactly this for the length of the block: a job knows what its row says, nothing of its
    worker's past.
    """
    token = _context.set(dict(values))
    try:
        yield
    finally:
        _context.reset(token)


def learn(**added: str) -> None:
    """Add to what is known until the surrounding `bound` block ends."""
    _context.set({**_context.get(), **added})


@contextmanager
def gathering() -> Iterator[None]:
    """The jobs promised in this block are given results of other jobs: no call of anybody's, whose
    arguments may be only so large.
    """
    token = _gathers.set(True)
    try:
        yield
    finally:
        _gathers.reset(token)


def is_gathering() -> bool:
    return _gathers.get()
