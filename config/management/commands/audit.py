"""`manage.py audit`: whether stock, money and deliveries add up; what does not is named."""

import argparse
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from notifications.oversight.audit import DELIVERIES
from orders.audit import (
    MONEY,
    STOCK,
    ProviderUnavailable,
    broken,
    disputed_by_provider,
    taken_without_us,
)

SHOWN = 50  # wrong rows of a kind
STRANGE_SHOWN = 20  # charges that may be others' business

DAYS_MAX = 36_500  # a hundred years; much farther back the calendar ends


class Command(BaseCommand):
    help = (
        "Compare the books: stock, money, the provider's own, deliveries. "
        "The exit code is 1 when they disagree."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--provider-days",
            type=_days,
            default=7,
            help="ask the provider about payments of so many days (0: none)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        days = timedelta(days=options["provider_days"])
        wrong = sum(
            [
                self._tell("stock", broken(STOCK, limit=SHOWN)),
                self._tell("money", broken(MONEY, limit=SHOWN)),
                self._tell("provider", self._at_the_provider(days)),
                self._tell("deliveries", broken(DELIVERIES, limit=SHOWN)),
            ]
        )
        if wrong:
            raise CommandError(
                "One thing does not add up." if wrong == 1 else f"{wrong} things do not add up."
            )

    def _at_the_provider(self, days: timedelta) -> Iterator[str]:
        """What is wrong; what may be right, as an account may serve others too, is noted."""
        yield from disputed_by_provider(since=days)
        strange = 0
        for is_wrong, sentence in taken_without_us(since=days):
            if is_wrong:
                yield sentence
                continue
            strange += 1
            if strange <= STRANGE_SHOWN:
                self.stdout.write(f"note   provider    {sentence}")
        if strange > STRANGE_SHOWN:
            self.stdout.write(f"note   provider    and {strange - STRANGE_SHOWN} more like these")

    def _tell(self, about: str, found: Iterator[str]) -> int:
        try:
            wrong = list(islice(found, SHOWN))
        except ProviderUnavailable as exc:
            wrong = [f"the provider does not answer: {exc}"]
        for sentence in wrong:
            self.stdout.write(f"WRONG  {about:<10}  {sentence}")
        if not wrong:
            self.stdout.write(f"ok     {about:<10}  adds up.")
        return len(wrong)


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= DAYS_MAX):
        raise argparse.ArgumentTypeError(f"a whole number from 0 to {DAYS_MAX}")
    return int(text)
