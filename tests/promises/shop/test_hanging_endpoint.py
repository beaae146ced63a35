"""One client's server hangs: nobody else's orders wait for it."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from celery_ledger.models import Job
from notifications.models import Delivery, Endpoint
from orders.inputs.order import OrderInput
from orders.models import Client, Order
from orders.tasks import place
from tests.doubles.edges import WebhookSink
from tests.promises.processes import Stack
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


@pytest.mark.soak
def test_orders_are_confirmed_while_a_webhook_endpoint_hangs(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., Any]
) -> None:
    """Three events of each of 20 orders go to the hanging server; each try would hold one of two
    workers for 5 s.
    """
    stock()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        Endpoint.objects.create(owner=shop.pk, url=url, events=["*"])
        for index in range(20):
            with transaction.atomic():
                place(shop, OrderInput.model_validate(order_body(external_id=f"o-{index}")))
        stack.start("worker")
        confirmed = Order.objects.filter(state="confirmed")
        until(lambda: confirmed.count() == 20, "all orders are confirmed", within_s=45)
        until(lambda: Endpoint.objects.get().failures > 0, "a call has hung", within_s=30)
    assert not Delivery.objects.filter(state="delivered", channel="webhook").exists()


def test_charges_go_before_the_webhooks_of_ten_endpoints_that_take_their_time(
    stack: Stack, shop: Client, stock: Any, order_body: Callable[..., Any], sink: WebhookSink
) -> None:
    """Each answers 200 after 4.5 s. Once, six orders filled the line, and nobody was charged for
    two minutes.
    """
    stock()
    sink.answers_after_s = 4.5
    for index in range(10):
        Endpoint.objects.create(owner=shop.pk, url=f"{sink.url}&endpoint={index}", events=["*"])
    other = Client.objects.create(name="other")
    stack.start("worker")
    for index in range(6):
        with transaction.atomic():
            place(shop, OrderInput.model_validate(order_body(external_id=f"o-{index}")))
    until(lambda: bool(sink.heard), "the first is called", within_s=30)
    for index in range(6):
        with transaction.atomic():
            place(other, OrderInput.model_validate(order_body(external_id=f"o-{index}")))
    confirmed = Order.objects.filter(state="confirmed")
    until(lambda: confirmed.count() == 12, "all are charged", within_s=45)
    waiting = Job.objects.filter(task="notifications.tasks.post_webhook", state="waiting")
    assert waiting.count() > 20, "the webhooks are worked off already: nothing was in anybody's way"
    called = Endpoint.objects.filter(busy_until__gt=Now())
    assert called.count() <= settings.WEBHOOK_SLOW_CALLS_PER_CLIENT
