"""A queue is paused while real workers serve it: nothing of it begins, everything else goes on, and
what waited goes on when it is resumed.
"""

from collections.abc import Callable
from typing import Any

import pytest

from celery_ledger import Job, PauseKind, pausing
from orders.models import Order
from orders.payments.sandbox_book import SandboxCharge
from tests.promises.processes import Stack
from tests.shop import Api
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
ORDERS = 5


def test_charges_wait_while_their_queue_is_paused(
    stack: Stack, api: Api, stock: Any, order_body: Callable[..., dict[str, Any]]
) -> None:
    stock()
    pausing.pause(PauseKind.QUEUE, "payments", by="ann")
    stack.start("worker")
    for number in range(ORDERS):
        api.place(order_body(external_id=f"o-{number}"), key=f"k-{number}")
    mails = Job.objects.filter(task="notifications.tasks.send_mail", state="done")
    reserved = Order.objects.filter(state="reserved")
    until(lambda: reserved.count() == ORDERS, "goods are set aside", within_s=60)
    until(lambda: mails.count() == ORDERS, "mails are sent", within_s=60)
    charges = Job.objects.filter(queue="payments")
    assert set(charges.values_list("state", "attempts")) == {("waiting", 0)}
    assert not SandboxCharge.objects.exists()
    pausing.resume(PauseKind.QUEUE, "payments", by="ann")
    confirmed = Order.objects.filter(state="confirmed", payment_state="paid")
    until(lambda: confirmed.count() == ORDERS, "they are paid", within_s=60)
    assert SandboxCharge.objects.count() == ORDERS
