"""`manage.py release`: what the Procfile's release phase does, once, before the new dynos start."""

from time import sleep
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import InternalError, connection

from config.start.boot import require_settings
from config.start.release_turn import PAUSE_S, release_turn

TRIES = 20


class Command(BaseCommand):
    help = "Check the settings, migrate, and set the time limits of the database role."
    requires_system_checks = []  # they ask Postgres, and a missing setting should be said first

    def handle(self, *args: Any, **options: Any) -> None:
        require_settings()
        self.check(databases=["default"])
        with release_turn(self.stdout.write):
            self._migrate(verbosity=options["verbosity"])
            self._limit_the_role()

    def _migrate(self, *, verbosity: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")  # a migration may take long
            if _knows_transaction_timeout():
                cursor.execute("SET transaction_timeout = 0")
            cursor.execute("SET lock_timeout = '5s'")  # but it must not stand in everybody's way
        call_command("migrate", interactive=False, verbosity=verbosity)

    def _limit_the_role(self) -> None:
        """On the role, since that holds behind PgBouncer too, where a session's SET does not."""
        for name, value in _limits_that_lack():
            _limit(name, value)
        self.stdout.write("Limits of the database role are set.")


def _limits_that_lack() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(rolconfig, '{}') FROM pg_roles WHERE rolname = current_user"
        )
        role_options = cursor.fetchone()[0]
    lacking = {
        name: value
        for name, value in settings.POSTGRES_LIMITS.items()
        if f"{name}={value}" not in role_options
    }
    if not _knows_transaction_timeout():
        lacking.pop("transaction_timeout", None)
    return list(lacking.items())


def _limit(name: str, value: str) -> None:
    """A role belongs to every database of its server, so that releases of two may meet here; one of
    them waits.
    """
    for tried in range(TRIES):
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER ROLE CURRENT_USER SET {name} = %s", [value])
            return
        except InternalError:  # tuple concurrently updated
            if tried == TRIES - 1:
                raise
            sleep(PAUSE_S)


def _knows_transaction_timeout() -> bool:
    """Postgres 17 and later."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        return int(cursor.fetchone()[0]) >= 170000
