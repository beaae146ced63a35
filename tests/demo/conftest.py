from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client as HttpClient

from orders.models import Order
from tests.demo.pages import Placed, filled_in


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
