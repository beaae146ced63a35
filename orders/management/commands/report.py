"""`manage.py report 2026-11 [--client NAME] [--csv]`"""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from orders.models import Client
from orders.reports import days, spreadsheet
from orders.reports.asked import daily, monthly
from orders.reports.days import WRITTEN_MONTH
from values.refused import Refused


class Command(BaseCommand):
    help = "Print the figures of a day or a month, of all clients or of one, as JSON or CSV."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("when", help="a day like 2026-11-24, or a month like 2026-11")
        parser.add_argument("--client", help="the client's name; without it: all of them")
        parser.add_argument("--csv", action="store_true", help="as CSV, for a spreadsheet")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["client"]
        client = Client.objects.filter(name=name).first() if name else None
        if name and client is None:
            raise CommandError(f"There is no client {name}.")
        report = _asked(options["when"], client)
        if report is None:
            raise CommandError("The workers compute it just now; ask again in a moment.")
        self.stdout.write(
            spreadsheet.written(report) if options["csv"] else json.dumps(report, indent=1)
        )


def _asked(when: str, client: Client | None) -> Mapping[str, Any] | None:
    try:
        if WRITTEN_MONTH.fullmatch(when):
            return monthly(days.read_month(when), client)
        return daily(days.read(when), client)
    except Refused as exc:
        raise CommandError(str(exc)) from exc
    except ValueError as exc:
        raise CommandError("Name a day like 2026-11-24 or a month like 2026-11.") from exc
