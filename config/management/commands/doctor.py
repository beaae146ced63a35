"""`manage.py doctor`: what is wrong here, and what to do about it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.doctor import findings


class Command(BaseCommand):
    help = (
        "Check config, broker, database, clock and stuck work. "
        "The exit code is 1 when something is wrong."
    )
    requires_system_checks = []  # they ask Postgres, and it may be down

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = 0
        for finding in findings():
            word = "WRONG" if finding.is_wrong else "ok"
            self.stdout.write(
                f"{word:<5}  {finding.about:<10}  "
                f"{' '.join([finding.sentence, finding.remedy]).strip()}"
            )
            wrong += finding.is_wrong
        if wrong:
            raise CommandError(
                "One thing is wrong." if wrong == 1 else f"{wrong} things are wrong."
            )
