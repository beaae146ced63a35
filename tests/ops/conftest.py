from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client as HttpClient

from celery_ledger.testing import work_off
from orders.models import Order
from tests.ops.browsing import log_in
from tests.shop import Api

Body = Callable[..., dict[str, Any]]


@pytest.fixture
def hana(django_user_model: Any) -> HttpClient:
    return log_in(django_user_model, "hana", "look", "operate")


@pytest.fixture
def ken(django_user_model: Any) -> HttpClient:
    return log_in(django_user_model, "ken", "look", "operate")


@pytest.fixture
def placed(api: Api, stock: Any, order_body: Body) -> Order:
    """A confirmed and paid order of two pieces for ¥660."""
    stock()
    api.place(order_body(customer={"name": "佐藤 花", "phone": "03-1234-5678"}))
    work_off()
    return Order.objects.get()
