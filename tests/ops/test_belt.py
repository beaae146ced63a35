"""The belt's lanes: where each of the newest orders is, and which stands still."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client as HttpClient
from django.utils import timezone

from celery_ledger import Job
from celery_ledger.testing import attempt, work_off
from ops.belt.plates import lanes
from orders.models import Order
from tests.ops.browsing import text
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = timezone.now() - timedelta(hours=1)


def where(order: Order) -> tuple[int, bool]:
    """Its lane from the left, and whether it stands still."""
    [found] = [
        (place, plate.is_still)
        for place, lane in enumerate(lanes())
        for plate in lane.plates
        if plate.order.pk == order.pk
    ]
    return found


def test_an_order_moves_from_lane_to_lane_and_one_that_does_not_is_seen(
    api: Api, stock: Any, order_body: Callable[..., Any], hana: HttpClient
) -> None:
    stock()
    api.place(order_body())
    order = Order.objects.get()
    assert where(order) == (0, False)
    Order.objects.update(updated_at=LONG_AGO)
    assert where(order) == (0, True)
    assert "(stands still)" in text(hana, "/ops/")
    attempt(Job.objects.get(task="orders.tasks.reserve"))
    assert where(order) == (1, False)
    attempt(Job.objects.get(task="orders.tasks.charge"))
    assert where(order) == (2, False)  # the mail that confirms it is on its way
    work_off()
    Order.objects.update(updated_at=LONG_AGO)
    assert where(order) == (3, False)  # it waits to be sent, which is nobody's fault
    assert "(stands still)" not in text(hana, "/ops/")


def test_one_that_waits_for_its_customer_does_not_stand_still(
    api: Api, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock()
    api.place(order_body(payment={"token": "tok_confirm"}))
    work_off()
    Order.objects.update(updated_at=LONG_AGO)
    order = Order.objects.get()
    assert where(order) == (1, False)
    order.hold("requested")
    assert where(Order.objects.get()) == (1, True)


def test_a_cancelled_order_is_on_no_lane(placed: Order) -> None:
    placed.cancel("staff")
    assert [plate for lane in lanes() for plate in lane.plates] == []
