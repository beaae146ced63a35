"""`manage.py shop show CLIENT`, `manage.py shop set CLIENT --name "Sushi Ya" …`"""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from notifications.models import Shop
from orders.inputs.shop import FIELDS, typed
from orders.models import Client
from values.refused import Refused


class Command(BaseCommand):
    help = (
        "What a client's shop is called where its customers read, and how it does business. "
        "What it does not say is as the installation has it (SHOP_NAME and so on)."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        show = actions.add_parser("show", help="what is said, and by whom")
        change = actions.add_parser("set", help="say it; an empty text is the installation's")
        for action in (show, change):
            action.add_argument("client", help="the client's name")
        for name in FIELDS:
            change.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar="TEXT")

    def handle(self, *args: Any, **options: Any) -> None:
        client = Client.objects.filter(name=options["client"]).first()
        if client is None:
            raise CommandError(f"There is no client {options['client']}.")
        if options["action"] == "set":
            texts = {name: options[name] for name in FIELDS if options[name] is not None}
            Shop.objects.change(client.pk, _typed(texts))
        self._show(Shop.objects.of(client.pk))

    def _show(self, shop: Shop) -> None:
        for name in FIELDS:
            whose = "  (of the installation)" if name in shop.lent else ""
            self.stdout.write(f"{name}: {getattr(shop, name)}{whose}")


def _typed(texts: dict[str, str]) -> dict[str, Any]:
    if not texts:
        raise CommandError(f"Say what to set: --{', --'.join(FIELDS).replace('_', '-')}.")
    try:
        return typed(texts)
    except Refused as exc:
        wrong = (f"{pointer[1:]} {message}" for pointer, message in exc.errors)
        raise CommandError("; ".join(wrong)) from exc
