"""One small worker: a provider that is slow holds up nobody, and nothing waits for ever."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from celery_ledger.models import Job
from orders.inputs.order import OrderInput
from orders.models import Client, Order
from orders.tasks import place
from tests.promises import tasks
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
SLOW, QUICK = 30, 6
FLOOD = 300  # jobs of a tenth of a second


@pytest.mark.soak
def test_orders_are_confirmed_while_a_slow_provider_has_thirty_others_wait(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., dict[str, Any]]
) -> None:
    """Fifteen times as many as the worker has processes."""
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
    charges = Job.objects.filter(task="orders.tasks.charge", state="running")
    until(lambda: charges.count() == SLOW, "all of them wait", within_s=60)
    for number in range(QUICK):
        order(f"quick-{number}", "tok_ok")
    quick = Order.objects.filter(external_id__startswith="quick")
    until(
        lambda: quick.filter(state="confirmed").count() == QUICK,
        "the others are confirmed",
        within_s=60,
    )
    assert charges.count() >= SLOW, "they were not confirmed meanwhile"


def test_a_later_queue_is_served_while_the_first_one_is_never_empty(
    stack: Stack, tally: Callable[[], Counter[int]]
) -> None:
    for number in range(FLOOD):
        tasks.tally.delay(number)
    for queue in ("outside", "bulk"):
        tasks.tally.apply_async((-1,), queue=queue)
    impatient = {"DJANGO_SETTINGS_MODULE": "tests.promises.settings.impatient"}
    stack.start("worker", "--include", "tests.promises.tasks", "--concurrency", "1", **impatient)
    done = Job.objects.filter(queue__in=("outside", "bulk"), state="done")
    until(lambda: done.count() == 2, "both are served", within_s=90)
    waiting = Job.objects.filter(queue="kaiten", state="waiting").count()
    assert waiting > FLOOD / 3, "the first queue was not empty meanwhile"
    assert tally()[-1] == 2
