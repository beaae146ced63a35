"""Hands that work side by side, each with a Postgres session of its own, and do one thing after
another as told.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connection, transaction

from tests.waiting import until

LIMIT_S = 10.0


class Hand:
    """A thread and its session. A step that will block is begun, and goes on in the background."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._atomic: Any = None
        self._step: Future[Any] = Future()
        self.session: int = self.do(self._connect)

    def begin(self, step: Callable[[], Any]) -> "Future[Any]":
        self._step = self._thread.submit(step)
        return self._step

    def do(self, step: Callable[[], Any]) -> Any:
        return self.begin(step).result(timeout=LIMIT_S)

    def open_transaction(self) -> None:
        self._atomic = transaction.atomic()
        self.do(self._atomic.__enter__)

    def commit(self) -> None:
        self.do(lambda: self._atomic.__exit__(None, None, None))

    def roll_back(self) -> None:
        error = ZeroDivisionError()
        self.do(lambda: self._atomic.__exit__(ZeroDivisionError, error, None))

    def wait_until_blocked(self) -> None:
        """By another session's lock, as Postgres says. A step that ends instead is a failure at
        once.
        """
        self.wait_until_blocked_or_done()
        assert not self._step.done(), "the hand did not wait for a lock"

    def wait_until_blocked_or_done(self) -> None:
        until(
            lambda: self._step.done() or self._is_blocked(),
            "the hand waits for a lock, or its step has ended",
            within_s=LIMIT_S,
            every_s=0.001,
        )

    def __enter__(self) -> "Hand":
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._step.done():  # a failed test has left it blocked
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_cancel_backend(%s)", [self.session])
        self.do(_hang_up)
        self._thread.shutdown()

    def _connect(self) -> int:
        connection.ensure_connection()
        pid: int = connection.connection.info.backend_pid
        return pid

    def _is_blocked(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [self.session])
            return bool(cursor.fetchone()[0])


def _hang_up() -> None:
    """The session of the thread that does it."""
    connection.close()


class Barrier:
    """Where the first to come waits until it may go on; whoever comes later passes."""

    def __init__(self) -> None:
        self._first = threading.Lock()
        self._reached, self._open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        if self._first.acquire(blocking=False):
            self._reached.set()
            assert self._open.wait(LIMIT_S), "nobody opened the barrier"

    def wait_until_reached(self) -> None:
        assert self._reached.wait(LIMIT_S), "nobody came to the barrier"

    def open(self) -> None:
        self._open.set()


def in_threads(work: Callable[[Any], Any], items: list[Any], hands: int = 8) -> list[Any]:
    """Each item in one of eight threads with a connection of its own."""

    def and_hang_up(item: Any) -> Any:
        try:
            return work(item)
        finally:
            connection.close()

    with ThreadPoolExecutor(hands) as pool:
        return list(pool.map(and_hang_up, items))
