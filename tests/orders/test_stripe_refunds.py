"""Money that goes back through Stripe, and money that a bank takes back."""

from collections.abc import Callable
from typing import Any

import pytest

from celery_ledger.models import Job
from celery_ledger.testing import attempt, work_off
from orders.audit import MONEY, broken, disputed_by_provider
from orders.models import Order
from orders.payments.models import PaymentOperation
from orders.payments.stripe import Stripe
from tests.doubles.stripe import StripeDouble
from tests.doubles.stripe_book import objects_in
from tests.orders.at_stripe import HOURS, heard, intent_of, work_off_and_listen
from tests.orders.conftest import Pay
from tests.shop import Api, post
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


def refunds(stripe: StripeDouble) -> list[int]:
    return [made["amount"] for made in objects_in(stripe.path, "refund")]


@pytest.fixture
def paid(stripe: StripeDouble, pay: Pay) -> Callable[..., Order]:
    def order(token: str = "pm_card_visa") -> Order:
        placed = pay(token)
        work_off()
        return placed

    return order


def test_a_refund_is_made_once_at_stripe(
    stripe: StripeDouble, paid: Callable[..., Order], api: Api
) -> None:
    order = paid()
    for amount in (60, 100):
        post(api, f"/v1/orders/{order.pk}/refunds", {"amount": amount, "reason": "sorry"})
    work_off()
    order.refresh_from_db()
    assert (refunds(stripe), order.refunded, order.payment_state) == (
        [60, 100],
        160,
        "partially_refunded",
    )
    post(api, f"/v1/orders/{order.pk}/cancel")
    work_off()
    order.refresh_from_db()
    assert (refunds(stripe), order.refunded, order.state) == ([60, 100, 500], 660, "cancelled")


@pytest.mark.parametrize("flaw", ["lose_answer", "500_after"])
def test_a_refund_whose_answer_is_lost_is_found_and_not_made_again(
    stripe: StripeDouble, paid: Callable[..., Order], api: Api, flaw: str
) -> None:
    order = paid()
    stripe.flaw(flaw)
    post(api, f"/v1/orders/{order.pk}/refunds", {"reason": "sorry"})
    attempt(Job.objects.get(task="orders.tasks.refund"))
    assert PaymentOperation.objects.get(kind="refund").state == "sent"
    work_off(ahead=HOURS)
    order.refresh_from_db()
    assert (refunds(stripe), order.refunded, order.payment_state) == ([660], 660, "refunded")


def test_a_refund_that_stripe_fails_waits_for_a_person(
    stripe: StripeDouble, paid: Callable[..., Order], api: Api
) -> None:
    order = paid("pm_card_refundFail")
    post(api, f"/v1/orders/{order.pk}/refunds", {"amount": 100, "reason": "sorry"})
    work_off()
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending, order.hold_reason) == (0, 0, "refund_failed")


def test_an_audit_names_what_was_refunded_on_stripes_own_pages(
    stripe: StripeDouble, paid: Callable[..., Order], api: Api
) -> None:
    order = paid()
    post(api, f"/v1/orders/{order.pk}/refunds", {"amount": 60, "reason": "sorry"})
    work_off()
    assert list(disputed_by_provider(since=HOURS)) == []
    Stripe().refund(
        intent_of(amount=100, token=PaymentOperation.objects.get(kind="charge").reference)
    )
    assert list(disputed_by_provider(since=HOURS)) == [
        f"order {order.number}: we have given 60 JPY back, but stripe says 160"
    ]


def test_more_than_stripe_has_left_has_failed_and_waits_for_a_person(
    stripe: StripeDouble, paid: Callable[..., Order], api: Api, settings: Any
) -> None:
    order = paid()
    charge = PaymentOperation.objects.get()
    # somebody used Stripe's own page
    Stripe().refund(intent_of(amount=600, token=charge.reference))
    post(api, f"/v1/orders/{order.pk}/refunds", {"reason": "sorry"})
    work_off(ahead=HOURS)
    order.refresh_from_db()
    assert (order.hold_reason, order.refund_pending, order.refunded) == ("refund_failed", 0, 0)
    refund = PaymentOperation.objects.get(kind="refund")
    assert (refund.state, "greater than unrefunded amount" in refund.reason) == ("declined", True)
    post(api, f"/v1/orders/{order.pk}/refunds", {"reason": "sorry", "amount": 60})
    work_off(ahead=HOURS)
    order.refresh_from_db()
    assert (order.refund_pending, order.refunded) == (0, 60)
    assert list(disputed_by_provider(since=HOURS)) == [
        f"order {order.number}: we have given 60 JPY back, but stripe says 660"
    ]


@pytest.mark.parametrize(
    ("status", "expected"), [("succeeded", (100, 0, "")), ("failed", (0, 0, "refund_failed"))]
)
def test_an_event_about_a_refund_asks_about_the_refund_and_not_about_its_charge(
    ringing: StripeDouble, pay: Pay, api: Api, status: str, expected: tuple[int, int, str]
) -> None:
    """Both fit: the event names our refund, and the payment that it belongs to."""
    order = pay("pm_card_pendingRefund")
    work_off()
    post(api, f"/v1/orders/{order.pk}/refunds", {"amount": 100, "reason": "sorry"})
    attempt(Job.objects.get(task="orders.tasks.refund"))
    until(heard(5), "the payment's and the refund's events are heard", within_s=10)
    ringing.decide_refund(PaymentOperation.objects.get(kind="refund").reference, status)
    until(heard(6), "the decision is heard", within_s=10)
    for bell in Job.objects.filter(task="orders.tasks.on_provider_event").exclude(state="done"):
        attempt(bell)
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending, order.hold_reason) == expected


def test_a_refund_that_fails_after_it_had_succeeded_is_owed_again(
    ringing: StripeDouble, pay: Pay, api: Api
) -> None:
    """A bank may send the money back days later, to the shop: an account was closed."""
    order = pay()
    work_off()
    post(api, f"/v1/orders/{order.pk}/refunds", {"amount": 100, "reason": "sorry"})
    work_off_and_listen(5)
    order.refresh_from_db()
    assert (order.refunded, order.payment_state) == (100, "partially_refunded")
    ringing.decide_refund(PaymentOperation.objects.get(kind="refund").reference, "failed")
    work_off_and_listen(6)
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending, order.payment_state) == (0, 0, "paid")
    assert (order.hold_reason, order.refunds.get().state) == ("refund_failed", "failed")
    assert [*broken(MONEY, limit=9), *disputed_by_provider(since=HOURS)] == []
    post(api, f"/v1/orders/{order.pk}/refunds", {"reason": "to another account"})
    work_off()
    order.refresh_from_db()
    assert (order.refunded, order.payment_state) == (660, "refunded")


def test_a_refund_that_nobody_knows_of_keeps_the_order_on_the_desk_when_another_one_is_made(
    stripe: StripeDouble, paid: Callable[..., Order], api: Api
) -> None:
    order = paid()
    stripe.flaw("503", times=1000, method="POST", path="/v1/refunds")
    post(api, f"/v1/orders/{order.pk}/refunds", {"amount": 100, "reason": "sorry"})
    work_off(ahead=3 * HOURS)
    stripe.flaws.clear()
    post(api, f"/v1/orders/{order.pk}/refunds", {"amount": 50, "reason": "so sorry"})
    attempt(Job.objects.get(task="orders.tasks.refund", state="waiting"))
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending, order.hold_reason) == (50, 100, "refund_unknown")
    post(api, f"/v1/orders/{order.pk}/release")
    work_off(ahead=HOURS)
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending, order.held) == (150, 0, False)


def test_a_dispute_puts_the_order_on_hold_once(ringing: StripeDouble, pay: Pay) -> None:
    """Its event is a bell like any other: what is true is asked."""
    order = pay()
    work_off()
    until(heard(3), "the payment's events are heard", within_s=10)
    ringing.dispute(PaymentOperation.objects.get().reference)
    until(heard(4), "the dispute is heard", within_s=10)
    work_off()
    order.refresh_from_db()
    assert (order.state, order.held, order.hold_reason) == ("confirmed", True, "disputed")
