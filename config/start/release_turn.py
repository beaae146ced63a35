"""Releases of one database go one after the other: two at once would each begin the same migration.

The turn is an advisory lock of a transaction, on a connection of its own: it holds behind PgBouncer
in transaction mode, and Postgres gives it back when its holder dies. Whoever waits asks again and
again and holds no snapshot meanwhile, for which a CREATE INDEX CONCURRENTLY of the release at work
would wait in turn.
"""

import contextlib
from collections.abc import Callable, Iterator
from time import monotonic, sleep

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from config.start.boot import CannotStart

RELEASE = 0x6B616972  # the advisory lock of the release at work: "kair"
PAUSE_S = 0.2


@contextlib.contextmanager
def release_turn(say: Callable[[str], object]) -> Iterator[None]:
    """Let one release in. Raises CannotStart when the others take longer than RELEASE_WAIT_S."""
    own = connection.copy()
    try:
        _wait_for_turn(own, say)
        yield
    finally:
        # a connection that is gone holds no lock
        with contextlib.suppress(DatabaseError, InterfaceError):
            own.rollback()
        own.close()


def _wait_for_turn(own: BaseDatabaseWrapper, say: Callable[[str], object]) -> None:
    give_up = monotonic() + settings.RELEASE_WAIT_S
    own.set_autocommit(False)
    is_announced = False
    while not _takes_turn(own):
        own.rollback()
        if not is_announced:
            say("Another release is at work; waiting for it.")
            is_announced = True
        if monotonic() > give_up:
            raise CannotStart(
                f"another release has been at work for {settings.RELEASE_WAIT_S:g} s. "
                "Release again when it has ended."
            )
        sleep(PAUSE_S)


def _takes_turn(own: BaseDatabaseWrapper) -> bool:
    """Begin the transaction that holds the lock. It is idle for as long as the migrations take."""
    with own.cursor() as cursor:
        for name in settings.POSTGRES_LIMITS:
            cursor.execute(
                "SELECT set_config(name, '0', true) FROM pg_settings WHERE name = %s", [name]
            )
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [RELEASE])
        return bool(cursor.fetchone()[0])
