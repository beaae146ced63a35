"""The day of a shop in docs/a-day.md, as its commands stand: 3-D Secure, a second card, cash on
delivery, parcels, a return, a withdrawal, the month, and the same books in an empty shop.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from celery_ledger.models import Job
from notifications.models import Delivery
from orders.models import Client, Order, Return
from orders.reports import figures
from orders.reports.days import Day, day_of
from tests.orders.books import books_balance
from tests.promises.documents.blocks import blocks, output_of
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.soak, pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
PAGE = "docs/a-day.md"


def standing() -> dict[str, tuple[Any, ...]]:
    """Of each order what it has come to."""
    return {
        str(order.external_id): (
            order.number,
            order.state,
            order.fulfilment_state,
            order.payment_state,
            (order.captured, order.refunded),
            [(line.fulfilled, line.returned) for line in order.lines.order_by("position")],
        )
        for order in Order.objects.order_by("pk")
    }


def months_figures() -> Any:
    now = timezone.now()
    return figures.at_once(Client.objects.get().pk, Day(day_of(now)), until=now)


def test_a_day_of_a_shop_and_the_same_books_in_an_empty_one(stack: Stack, tmp_path: Path) -> None:
    environment = {
        **stack.environment,
        "SHOP": f"http://127.0.0.1:{stack.start_web().port}",
        "DAY": str(tmp_path),
        "MONTH": f"{timezone.localdate():%Y-%m}",
        "PATH": os.defpath,  # a stranger's, without .venv
    }
    stack.start("worker")
    first, *rest = blocks(PAGE, "sh")
    output = output_of("".join([first, *rest]), environment)
    until(
        lambda: not Order.objects.filter(refund_pending__gt=0).exists(),
        "what is owed is given back",
        within_s=30,
    )
    day = standing()
    assert {name: (*each[1:4], *each[4:]) for name, each in day.items()} == {
        "hana": ("completed", "full", "refunded", (2400, 2400), [(2, 2)]),
        "taro": ("completed", "full", "partially_refunded", (4800, 1200), [(1, 0), (1, 1)]),
        "ken": ("completed", "full", "paid", (1500, 0), [(1, 0)]),
    }
    assert Order.objects.get(external_id="hana").withdrawn_by == "Hana"
    assert set(Return.objects.values_list("state", flat=True)) == {"received"}
    assert '"payment_state":"action_required"' in output
    assert '"payment_state":"failed"' in output
    assert "4711-ken" in output
    assert books_balance()
    sums = months_figures()

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE orders_order, orders_stock, notifications_event CASCADE")
    Job.objects.all().delete()
    output_of("".join([first, *blocks(PAGE, "sh moved")]), environment)
    assert standing() == day
    assert months_figures() == sums
    assert books_balance()
    assert not Delivery.objects.filter(channel="mail").exists()
