"""`manage.py report 2026-11 [--csv]`"""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from orders.reports import days, spreadsheet
from orders.reports.asked import daily, monthly
from values.refused import Refused


class Command(BaseCommand):
    help = "Print the figures of a day or a month, of all clients together, as JSON or CSV."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("when", help="a day like 2026-11-24, or a month like 2026-11")
        parser.add_argument("--csv", action="store_true", help="for a spreadsheet")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = _report(options["when"])
        except Refused as exc:
            raise CommandError(str(exc)) from exc
        except ValueError as exc:
            raise CommandError("Name a day like 2026-11-24 or a month like 2026-11.") from exc
        if report is None:
            raise CommandError("The workers compute it just now; ask again in a moment.")
        text = spreadsheet.written(report) if options["csv"] else json.dumps(report, indent=1)
        self.stdout.write(text)


def _report(when: str) -> Mapping[str, Any] | None:
    if days.WRITTEN_MONTH.fullmatch(when):
        return monthly(days.read_month(when), None)
    return daily(days.read(when), None)
