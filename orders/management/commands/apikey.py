"""`manage.py apikey create NAME [--scope S…]`"""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from orders.models import ApiKey, Client
from orders.models.client import CLIENT_NAME_MAX_CHARS, SCOPES
from values.refused import Refused


class Command(BaseCommand):
    help = (
        "Make a key for an API client; the client is created when it is new. "
        "The key is the last line printed."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a key")
        create.add_argument("name", type=_name, help="the client's name")
        create.add_argument(
            "--scope",
            action="extend",
            nargs="+",
            choices=SCOPES,
            default=[],
            metavar="SCOPE",
            help=f"none means all of {', '.join(SCOPES)}",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            try:
                client, new = Client.objects.know(options["name"])
            except Refused as exc:
                raise CommandError(f"A client's name {exc.errors[0][1]}.") from exc
            key = ApiKey.objects.issue(client, options["scope"])
        self.stderr.write(
            f"{'New client' if new else 'Client'} {client.name}. The key is shown only now:"
        )
        self.stdout.write(key)


def _name(text: str) -> str:
    if not 0 < len(text) <= CLIENT_NAME_MAX_CHARS or "\x00" in text:
        raise argparse.ArgumentTypeError(
            f"a client needs a name of 1 to {CLIENT_NAME_MAX_CHARS} letters"
        )
    return text
