from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import Client as HttpClient

from celery_ledger.testing import work_off
from orders.models import Fulfilment, Order
from tests.demo.pages import Placed, filled_in
from tests.demo.withdrawing import Bought, now


@pytest.fixture
def seeded(db: None) -> None:
    call_command("seed")


@pytest.fixture
def visitor(seeded: None) -> HttpClient:
    return HttpClient(headers={"Accept-Language": "en"})


@pytest.fixture
def placed(visitor: HttpClient) -> Placed:
    """An order of two salmon nigiri, put into a state as a worker would."""

    def place(**typed: Any) -> Order:
        visitor.post("/", filled_in(**typed))
        return Order.objects.latest("id")

    return place


@pytest.fixture
def within_two_weeks(settings: Any) -> None:
    """Customers may withdraw for that long."""
    settings.SHOP = {**settings.SHOP, "withdrawal_days": 14}


@pytest.fixture
def bought(placed: Placed) -> Bought:
    """A confirmed order of two salmon nigiri, so many of which are sent."""

    def buy(*, sent: int = 0, **typed: Any) -> Order:
        order = placed(**typed)
        work_off()
        if sent:
            with transaction.atomic():
                order = Order.objects.locked(order.pk)
                Fulfilment.objects.ship(order, [(order.own_lines[0], sent)])
        return now(order)

    return buy
