"""A charge in two sessions on real Postgres, forced into the bad orders of the model
(`tests/model/world.py`).
"""

from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import attempt
from celery_ledger.worker.clock import Clock
from config import celery_app
from orders.inputs.order import OrderInput
from orders.models import Client, Order
from orders.payments.models import PaymentOperation
from orders.payments.sandbox import Sandbox
from orders.payments.sandbox_book import SandboxCharge
from orders.tasks import charge as charge_task
from tests.postgres.hands import Barrier, Hand

pytestmark = pytest.mark.django_db(transaction=True)


def give_back(job: Job) -> None:
    """Its lease runs out, and a clock sees it."""
    Job.objects.filter(pk=job.pk, state="running").update(lease_until=timezone.now())
    Clock(celery_app, worker=uuid4(), name="test@here").rescuer.rescue()


@pytest.fixture
def charge(shop: Client, stock: Any, order_body: Any) -> Job:
    """The job that charges an order of 660 yen."""
    stock()
    order = Order.objects.place(shop, OrderInput.model_validate(order_body()))
    order.reserve()
    operation = order.intend_charge()
    return Job.objects.get(pk=charge_task.delay(str(operation.pk)).id)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Barrier:
    """At the provider, when it has booked the charge and not answered."""
    barrier, book = Barrier(), Sandbox._book

    def book_and_wait(self: Sandbox, intent: Any) -> SandboxCharge:
        booked = book(self, intent)
        barrier()
        return booked

    monkeypatch.setattr(Sandbox, "_book", book_and_wait)
    return barrier


def test_two_attempts_at_one_charge_are_one_charge(
    one: Hand, two: Hand, charge: Job, counter: Barrier
) -> None:
    """KEY_PER_ATTEMPT"""
    ghost = one.begin(lambda: attempt(charge))
    counter.wait_until_reached()
    give_back(charge)
    two.do(lambda: attempt(charge))
    counter.open()
    ghost.result(timeout=20)
    order = Order.objects.get()
    assert (SandboxCharge.objects.count(), order.captured, order.state) == (1, 660, "confirmed")


def test_while_the_provider_is_called_our_row_says_that_it_may_know(
    one: Hand, charge: Job, counter: Barrier
) -> None:
    """UNNOTED_CALL"""
    calling = one.begin(lambda: attempt(charge))
    counter.wait_until_reached()
    seen = PaymentOperation.objects.get().state
    counter.open()
    calling.result(timeout=20)
    assert (seen, PaymentOperation.objects.get().state) == ("sent", "succeeded")
