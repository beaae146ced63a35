"""The context: on whose behalf this thread works, e.g. the id of the request. Jobs that are
promised here inherit it, and every line of the log shows it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from celery_ledger.conf import ledger_settings

_gathers: ContextVar[bool] = ContextVar("ledger_gathers", default=False)
_context: ContextVar[Mapping[str, str]] = ContextVar("ledger_context", default=MappingProxyType({}))


def current() -> Mapping[str, str]:
    """The context, e.g. {"request_id": "8c1f…", "owner": "0198…"}."""
    return _context.get()


def inherited() -> dict[str, str]:
    """The context of a job that is promised here: all of it but the id of the promising job."""
    return {name: value for name, value in _context.get().items() if name != "job"}


def owner() -> str:
    """The owner of a job that is promised here, by the setting OWNER; "" for nobody."""
    return _context.get().get(ledger_settings.OWNER, "")


@contextmanager
def bound(**added: str | None) -> Iterator[None]:
    """Add to the context for the length of the block; a name whose value is None is not added."""
    named = {name: value for name, value in added.items() if value is not None}
    token = _context.set({**_context.get(), **named})
    try:
        yield
    finally:
        _context.reset(token)


@contextmanager
def replaced(values: Mapping[str, str]) -> Iterator[None]:
    """Have exactly this context for the length of the block, as a job has that of its row."""
    token = _context.set(dict(values))
    try:
        yield
    finally:
        _context.reset(token)


def learn(**added: str) -> None:
    """Add to the context until the surrounding block of `bound` or `replaced` ends."""
    _context.set({**_context.get(), **added})


@contextmanager
def gathering() -> Iterator[None]:
    """Mark the jobs promised in this block as given the results of other jobs by the ledger. Their
    arguments may be as large as GATHERED_MAX_BYTES, those of a call only ARGS_MAX_BYTES.
    """
    token = _gathers.set(True)
    try:
        yield
    finally:
        _gathers.reset(token)


def is_gathering() -> bool:
    """Whether this is inside a block of `gathering`."""
    return _gathers.get()
