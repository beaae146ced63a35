"""One small worker: nothing that is short waits behind what is slow."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from celery_ledger.models import Job
from orders.models import Client, Order
from orders.order_input import OrderInput
from orders.tasks import place
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
SLOW, QUICK = 8, 6


@pytest.mark.slow
def test_goods_are_set_aside_while_a_slow_provider_keeps_every_process_busy(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., dict[str, Any]]
) -> None:
    """Five seconds for each charge. An order that comes then is reserved when one of them ends, and
    not behind all.
    """
    stock(on_hand=1000)

    def order(name: str, token: str) -> None:
        with transaction.atomic():
            place(
                shop,
                OrderInput.model_validate(order_body(external_id=name, payment={"token": token})),
            )

    for number in range(SLOW):
        order(f"slow-{number}", "tok_slow")
    stack.start("worker", "--concurrency", "2")
    charges = Job.objects.filter(task="orders.tasks.charge")
    until(
        lambda: charges.count() == SLOW and charges.filter(state="running").count() == 2,
        "both wait",
        within_s=60,
    )
    for number in range(QUICK):
        order(f"quick-{number}", "tok_ok")
    begun = charges.exclude(state="waiting").count()  # on a busy machine more than two
    quick = Order.objects.filter(external_id__startswith="quick")
    until(
        lambda: not quick.filter(state="received").exists(),
        "the others' goods are set aside",
        within_s=60,
    )
    assert charges.exclude(state="waiting").count() <= begun + 2, (
        "they stood behind the slow charges"
    )
