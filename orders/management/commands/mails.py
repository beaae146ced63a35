"""`manage.py mails preview|suppressed|suppress|unsuppress`"""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from celery_ledger import local_time
from notifications.events import timeline
from notifications.mail.answers.refusal import in_a_line
from notifications.mail.examples import HAPPENING, example
from notifications.mail.message import render
from notifications.models import Event, Shop, Suppression
from orders.models import Order
from values.addresses import mailbox
from values.shop import LANGUAGES

LIST_MAX = 1000


class Command(BaseCommand):
    help = "Print the mail of an event and send it to nobody; and to whom nothing is mailed."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        preview = actions.add_parser("preview", help="as text, or as HTML")
        preview.set_defaults(do=self.preview)
        preview.add_argument("event", choices=HAPPENING, metavar="EVENT", help=", ".join(HAPPENING))
        preview.add_argument("--language", choices=LANGUAGES, help="else the reader's own")
        preview.add_argument("--html", action="store_true", help="its HTML form")
        preview.add_argument("--order", metavar="NUMBER", help="of this order, else of an example")

        listed = actions.add_parser("suppressed", help="addresses that nothing is mailed to")
        listed.set_defaults(do=self.suppressed)
        listed.add_argument("address", nargs="?", metavar="ADDRESS", help="only whether this is")
        listed.add_argument("--limit", type=_limit, default=20, help=f"1 to {LIST_MAX}, or 20")
        off = actions.add_parser("unsuppress", help="mail to this address again")
        off.set_defaults(do=self.unsuppress)
        on = actions.add_parser("suppress", help="mail nothing to this address any more")
        on.set_defaults(do=self.suppress)
        on.add_argument("--because", default="", help="for whoever asks why; no names")
        for action in (on, off):
            action.add_argument("address", metavar="ADDRESS")

    def handle(self, *args: Any, **options: Any) -> None:
        options["do"](options)

    def suppressed(self, options: dict[str, Any]) -> None:
        if options["address"]:
            one = _listed(options["address"])
            rows = [one] if one else []
        else:
            rows = list(Suppression.objects.newest()[: options["limit"]])
        for row in rows:
            address = "(erased)" if row.erased_at else row.address
            self.stdout.write(f"{row.pk:>8}  {address}  {_why(row)}")
        if not rows:
            self.stdout.write("It is mailed." if options["address"] else "Every address is mailed.")

    def suppress(self, options: dict[str, Any]) -> None:
        address, because = options["address"], in_a_line(options["because"])
        try:
            is_new = Suppression.objects.add(address, why=Suppression.Why.STAFF, details=because)
        except ValueError as exc:
            raise _no_address(exc) from None
        self.stdout.write("Nothing is mailed there." if is_new else "It is on the list already.")

    @transaction.atomic
    def unsuppress(self, options: dict[str, Any]) -> None:
        listed = _listed(options["address"])
        if not (listed and Suppression.objects.take_off(listed.pk)):
            raise CommandError("It is not on the list: it is mailed.")
        self.stdout.write(f"It is mailed again; it was on the list: {_why(listed)}.")
        self.stdout.write("Send what it did not get: `manage.py deliveries retry --since …`.")

    def preview(self, options: dict[str, Any]) -> None:
        language = options["language"]
        if options["order"]:
            event = _newest(options["event"], options["order"])
        else:
            event = example(options["event"], language or Shop.objects.of(None).language)
        if language and "order" in event.data:
            event.data["order"]["locale"] = language
        mail = render(event, Shop.objects.of(event.owner))
        if options["html"]:
            self.stdout.write(mail.html)
        else:
            self.stdout.write(f"Subject: {mail.subject}\n\n{mail.text}")


def _newest(kind: str, number: str) -> Event:
    """The newest event of this kind of the order. Raises CommandError where there is none, or where
    clients have several orders of that number.
    """
    orders = Order.objects.narrowed(number=number)[:2]
    if len(orders) != 1:
        raise CommandError(f"{'No' if not orders else 'More than one'} order is {number}.")
    event = timeline(orders[0].pk).filter(kind=kind).last()
    if event is None:
        raise CommandError(f"Nothing like {kind} has happened to order {number}.")
    return event


def _listed(address: str) -> Suppression | None:
    try:
        return Suppression.objects.of(mailbox(address))
    except ValueError as exc:
        raise _no_address(exc) from None


def _no_address(exc: ValueError) -> CommandError:
    return CommandError(f"That is no address of mail: {exc}.")


def _why(listed: Suppression) -> str:
    by = f" (by {listed.who})" if listed.who else ""
    return f"{listed.why} at {local_time(listed.since)}{by} {listed.said}".rstrip()


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIST_MAX):
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {LIST_MAX}")
    return int(text)
