"""`manage.py mails preview order.fulfilled [--language ja] [--html] [--order K7QM-3XH9]`"""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from notifications.events import timeline
from notifications.mail.examples import HAPPENING, example
from notifications.mail.message import render
from notifications.models import Event, Shop
from orders.models import Order
from values.shop import LANGUAGES


class Command(BaseCommand):
    help = "Print the mail of an event, and send it to nobody."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        preview = actions.add_parser("preview", help="as text, or as HTML")
        preview.add_argument("event", choices=HAPPENING, metavar="EVENT", help=", ".join(HAPPENING))
        preview.add_argument("--language", choices=LANGUAGES, help="else the reader's own")
        preview.add_argument("--html", action="store_true", help="its HTML form")
        preview.add_argument("--order", metavar="NUMBER", help="of this order, else of an example")

    def handle(self, *args: Any, **options: Any) -> None:
        language = options["language"]
        event = (
            _newest(options["event"], options["order"])
            if options["order"]
            else example(options["event"], language or Shop.objects.of(None).language)
        )
        if language and "order" in event.data:
            event.data["order"]["locale"] = language
        mail = render(event, Shop.objects.of(event.owner))
        if options["html"]:
            self.stdout.write(mail.html)
        else:
            self.stdout.write(f"Subject: {mail.subject}\n\n{mail.text}")


def _newest(kind: str, number: str) -> Event:
    """Of this kind among those of the order. Raises CommandError where there is none, or where
    clients have several orders of that number.
    """
    orders = Order.objects.narrowed(number=number)[:2]
    if len(orders) != 1:
        raise CommandError(f"{'No' if not orders else 'More than one'} order is {number}.")
    event = timeline(orders[0].pk).filter(kind=kind).last()
    if event is None:
        raise CommandError(f"Nothing like {kind} has happened to order {number}.")
    return event
