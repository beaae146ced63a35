"""`manage.py apikey create NAME [--scope S…]`"""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from orders.models import ApiKey, Client
from orders.models.client import SCOPES
from values import identity

NAME_MAX_CHARS = 200


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
            client, new = _client(options["name"])
            key = ApiKey.objects.issue(client, options["scope"])
        self.stderr.write(
            f"{'New client' if new else 'Client'} {client.name}. The key is shown only now:"
        )
        self.stdout.write(key)


def _client(name: str) -> tuple[Client, bool]:
    """The client of this name, and whether it is new. One from before a name had to be plain is
    found too.
    """
    if client := Client.objects.filter(name=name).first():
        return client, False
    if said := identity.objection(name):
        raise CommandError(f"A client's name {said}.")
    return Client.objects.get_or_create(name=name)


def _name(text: str) -> str:
    if not 0 < len(text) <= NAME_MAX_CHARS or "\x00" in text:
        raise argparse.ArgumentTypeError(f"a client needs a name of 1 to {NAME_MAX_CHARS} letters")
    return text
