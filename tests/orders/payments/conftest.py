"""Orders that are paid at Stripe's double, over real HTTP."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from orders.inputs.order import OrderInput
from orders.models import Client, Order
from orders.tasks import place
from tests.doubles.stripe import WEBHOOK_SECRET, StripeDouble
from tests.doubles.stripe_wire import SECRET_KEY

Pay = Callable[..., Order]


@pytest.fixture
def stripe_settings(settings: Any) -> Any:
    settings.PAYMENT_PROVIDER = "stripe"
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = SECRET_KEY, WEBHOOK_SECRET
    settings.PAYMENT_TIMEOUT_S = 5.0
    return settings


@pytest.fixture
def stripe(stripe_settings: Any, tmp_path: Path) -> Iterator[StripeDouble]:
    """Stripe's double in this process. It does not ring: what is true shows by asking."""
    with StripeDouble(tmp_path / "book.jsonl") as double:
        stripe_settings.STRIPE_API_BASE = double.url
        yield double


@pytest.fixture
def ringing(stripe_settings: Any, tmp_path: Path, live_server: Any) -> Iterator[StripeDouble]:
    """The same, and it rings at a real server."""
    with StripeDouble(
        tmp_path / "book.jsonl", webhook_url=f"{live_server.url}/v1/payments/stripe/events"
    ) as double:
        stripe_settings.STRIPE_API_BASE = double.url
        yield double


@pytest.fixture
def pay(shop: Client, stock: Any, order_body: Callable[..., dict[str, Any]]) -> Pay:
    """Place an order of 660 JPY that is paid with this payment method."""
    stock()
    ids = count()

    def order(token: str = "pm_card_visa", **changes: Any) -> Order:
        fields = {"external_id": f"o-{next(ids)}", "payment": {"token": token}, **changes}
        with transaction.atomic():
            return place(shop, OrderInput.model_validate(order_body(**fields)))

    return order
