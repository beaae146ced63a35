"""What every test here may use; `tests/shop/__init__.py` has what those of the shop use."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from redis import Redis

from celery_ledger.execution.batch import forget_rests
from celery_ledger.execution.turns import forget_looks
from tests.postgres.hands import Hand

_guarded = False


def _refuse_sockets_in_transactions(event: str, args: tuple[Any, ...]) -> None:
    """Invariant I13: no socket is opened while a transaction is open (libpq's own sockets are not
    Python's).
    """
    if _guarded and event == "socket.connect" and connection.in_atomic_block:
        raise AssertionError(f"a socket to {args[1]} was opened inside a transaction")


sys.addaudithook(_refuse_sockets_in_transactions)


@pytest.fixture(autouse=True)
def no_socket_in_a_transaction(request: pytest.FixtureRequest) -> Iterator[None]:
    """On in every test that runs its own transactions; the others are one transaction from end to
    end.
    """
    global _guarded
    marker = request.node.get_closest_marker("django_db")
    _guarded = bool(marker and marker.kwargs.get("transaction"))
    yield
    _guarded = False


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """What a process remembers of a queue and of a task is of its own jobs, not of other tests'."""
    forget_looks()
    forget_rests()


@pytest.fixture
def broker(broker_url: str) -> Iterator[Redis]:
    """The broker, emptied."""
    with Redis.from_url(broker_url) as redis:
        redis.flushdb()
        yield redis


@pytest.fixture
def one() -> Iterator[Hand]:
    with Hand() as hand:
        yield hand


@pytest.fixture
def two() -> Iterator[Hand]:
    with Hand() as hand:
        yield hand
