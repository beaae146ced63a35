"""`manage.py release`: what the Procfile's release phase does, once, before the new dynos start."""

import argparse
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection

from config.boot import require_settings


class Command(BaseCommand):
    help = "Migrate, and set the time limits of the database role."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--check-only", action="store_true", help="check the settings, touch nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        require_settings()
        if options["check_only"]:
            return
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")  # a migration may take long
            cursor.execute("SET transaction_timeout = 0" if connection.pg_version >= 170000 else "SELECT 1")
            cursor.execute("SET lock_timeout = '5s'")  # but it must not stand in everybody's way
        call_command("migrate", interactive=False, verbosity=options["verbosity"])
        self._limit_the_role()

    def _limit_the_role(self) -> None:
        """On the role, since that holds behind PgBouncer too, where a session's own SET does not."""
        with connection.cursor() as cursor:
            for name, value in settings.POSTGRES_LIMITS.items():
                if name == "transaction_timeout" and connection.pg_version < 170000:
                    continue
                cursor.execute(f"ALTER ROLE CURRENT_USER SET {name} = %s", [value])
        self.stdout.write("Limits of the database role are set.")
