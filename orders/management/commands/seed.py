"""`manage.py seed`: a shop to play with. Running it again changes nothing that is there."""

import argparse
import json
import secrets
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import transaction

from orders.clients import ApiKey, Client
from orders.menu import CLIENT, MENU
from orders.stock import Stock

STAFF = "admin"


class Command(BaseCommand):
    help = "Fill the demo shop: the menu's stock, an API key and somebody to log in as."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--secrets", type=Path, help="a JSON file to keep the key and the password in")

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            for dish in MENU:
                if not Stock.objects.filter(sku=dish.sku).exists():
                    Stock.objects.set_on_hand(dish.sku, dish.on_hand, name=dish.ja)
            client, _ = Client.objects.get_or_create(name=CLIENT)
            if options["secrets"]:
                self._keep_secrets(options["secrets"], client)

    def _keep_secrets(self, path: Path, client: Client) -> None:
        kept = json.loads(path.read_text()) if path.exists() else {}
        if not ApiKey.objects.find(kept.get("api_key", "")):
            kept["api_key"] = ApiKey.objects.issue(client, [])
        staff = get_user_model().objects.filter(username=STAFF).first()
        if staff is None or not staff.check_password(kept.get("password", "")):
            kept |= {"username": STAFF, "password": secrets.token_urlsafe(12)}
            get_user_model().objects.filter(username=STAFF).delete()
            get_user_model().objects.create_superuser(STAFF, password=kept["password"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(kept))
