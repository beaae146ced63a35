"""`manage.py seed`: a shop to play with. Running it again changes nothing that is there."""

import argparse
import json
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from demo.menu import CLIENT, MENU
from orders.models import ApiKey, Client, Stock

STAFF = "admin"


class Command(BaseCommand):
    help = "Fill the demo shop: the menu's stock, an API key and somebody to log in as."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--secrets", type=Path, help="a JSON file to keep the key and the password in"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO_SHOP:
            raise CommandError(
                "The demo shop is closed here, so there is nothing to fill. DEMO_SHOP=1 opens it."
            )
        with transaction.atomic():
            for dish in MENU:
                if not Stock.objects.filter(sku=dish.sku).exists():
                    Stock.objects.set_on_hand(dish.sku, dish.on_hand, name=dish.ja)
            client, _ = Client.objects.get_or_create(name=CLIENT)
            if options["secrets"]:
                self._keep_secrets(options["secrets"], client)

    def _keep_secrets(self, path: Path, client: Client) -> None:
        kept = _kept(path)
        if not ApiKey.objects.find(kept.get("api_key", "")):
            kept["api_key"] = ApiKey.objects.issue(client, [])
        kept |= {"username": STAFF, "password": self._password(kept.get("password"))}
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(kept))
        unfinished.replace(path)

    @staticmethod
    def _password(kept: str | None) -> str | None:
        """Whoever has this name stays as they are: somebody may have changed the password, or it is
        their database.
        """
        staff = get_user_model().objects.filter(username=STAFF).first()
        if staff is not None:
            return kept if kept and staff.check_password(kept) else None
        password = secrets.token_urlsafe(12)
        get_user_model().objects.create_superuser(STAFF, password=password)
        return password


def _kept(path: Path) -> dict[str, Any]:
    """What an earlier run kept; nothing of a file that cannot be read."""
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return {}
