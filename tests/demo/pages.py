"""The pages of the counter: what is typed into its form, and how they read."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.test import Client as HttpClient

from demo.menu import MENU
from orders.models import Order

Placed = Callable[..., Order]


def filled_in(**typed: Any) -> dict[str, Any]:
    """What a browser sends for two salmon nigiri."""
    quantities: dict[str, Any] = {dish.sku: 0 for dish in MENU} | {"SAKE-NIGIRI": 2}
    fields = {
        "form_id": str(uuid4()),
        "email": "hana@example.com",
        "token": "tok_ok",
        **quantities,
        **typed,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def text(answer: Any) -> str:
    """The page as it reads: no tags, one space between words."""
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def status_page(visitor: HttpClient, order: Order, **options: Any) -> Any:
    return visitor.get(f"/o/{order.public_token}/", **options)
