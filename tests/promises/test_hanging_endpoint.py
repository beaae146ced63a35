"""One client's server hangs: nobody else's orders wait for it."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from notifications.models import Endpoint
from orders.api import place
from orders.clients import Client
from orders.models import Order
from orders.schemas import OrderDraft
from tests.promises.processes import Stack, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


def test_orders_are_confirmed_while_a_webhook_endpoint_hangs(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    """Three events of each of 20 orders go to the hanging server; each try would hold one of two workers for 5 s."""
    stock()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        Endpoint.objects.create(owner=shop.pk, url=url, events=["*"])
        for at in range(20):
            with transaction.atomic():
                place(shop, OrderDraft.model_validate(order_body(external_id=f"o-{at}")))
        stack.start("worker")
        confirmed = Order.objects.filter(state="confirmed")
        until(lambda: confirmed.count() == 20, "all orders are confirmed", within_s=45)
    assert Endpoint.objects.get().failures > 0
