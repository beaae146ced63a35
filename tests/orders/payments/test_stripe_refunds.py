"""Money that goes back through Stripe, and money that a bank takes back."""

import re
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import attempt, work_off
from notifications.events import timeline
from orders.audit import MONEY, broken, disputed_by_provider
from orders.models import Client, Order
from orders.payments.models import PaymentOperation
from orders.payments.stripe import Stripe
from orders.reports import figures
from orders.reports.days import Day
from tests.doubles.stripe import StripeDouble
from tests.doubles.stripe_book import objects_in
from tests.orders.payments.at_stripe import HALF_A_DAY, heard, intent_of, work_off_and_listen
from tests.orders.payments.conftest import Pay
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
    work_off(ahead=HALF_A_DAY)
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
    assert list(disputed_by_provider(since=HALF_A_DAY)) == []
    Stripe().refund(
        intent_of(amount=100, token=PaymentOperation.objects.get(kind="charge").reference)
    )
    assert list(disputed_by_provider(since=HALF_A_DAY)) == [
        f"order {order.number}: we have given 60 JPY back, but stripe says 160"
    ]


def test_an_audit_names_what_was_charged_on_stripes_own_pages_and_what_was_charged_twice(
    stripe: StripeDouble, paid: Callable[..., Order]
) -> None:
    """The first may be right: another shop may have the same account."""
    order = paid()
    by_hand = stripe.charge_by_hand()
    stripe.charge_by_hand(payment_method="pm_double_processing")
    assert noted() == [f"note   provider    {by_hand} of 500 JPY (…) names no order of ours"]
    charge = PaymentOperation.objects.get(kind="charge")
    again = stripe.charge_by_hand(amount="660", **{"metadata[operation]": str(charge.pk)})
    assert noted() == [
        f"note   provider    {by_hand} of 500 JPY (…) names no order of ours",
        f"WRONG  provider    order {order.number}, which {charge.reference} has paid: "
        f"{again} of 660 JPY (…) as well",
    ]


def noted() -> list[str]:
    """What an audit says is wrong, or may be."""
    output = StringIO()
    with suppress(CommandError):
        call_command("audit", stdout=output)
    lines = [line for line in output.getvalue().splitlines() if not line.startswith("ok")]
    return [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "…", line) for line in lines]


def test_more_than_stripe_has_left_has_failed_and_waits_for_a_person(
    stripe: StripeDouble, paid: Callable[..., Order], api: Api, settings: Any
) -> None:
    order = paid()
    charge = PaymentOperation.objects.get()
    # somebody used Stripe's own page
    Stripe().refund(intent_of(amount=600, token=charge.reference))
    post(api, f"/v1/orders/{order.pk}/refunds", {"reason": "sorry"})
    work_off(ahead=HALF_A_DAY)
    order.refresh_from_db()
    assert (order.hold_reason, order.refund_pending, order.refunded) == ("refund_failed", 0, 0)
    refund = PaymentOperation.objects.get(kind="refund")
    assert (refund.state, "greater than unrefunded amount" in refund.reason) == ("declined", True)
    post(api, f"/v1/orders/{order.pk}/refunds", {"reason": "sorry", "amount": 60})
    work_off(ahead=HALF_A_DAY)
    order.refresh_from_db()
    assert (order.refund_pending, order.refunded) == (0, 60)
    assert list(disputed_by_provider(since=HALF_A_DAY)) == [
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
    assert [*broken(MONEY, limit=9), *disputed_by_provider(since=HALF_A_DAY)] == []
    post(api, f"/v1/orders/{order.pk}/refunds", {"reason": "to another account"})
    work_off()
    order.refresh_from_db()
    assert (order.refunded, order.payment_state) == (660, "refunded")


def test_a_refund_that_nobody_knows_of_keeps_the_order_on_hold_when_another_one_is_made(
    stripe: StripeDouble, paid: Callable[..., Order], api: Api
) -> None:
    order = paid()
    stripe.flaw("503", times=1000, method="POST", path="/v1/refunds")
    post(api, f"/v1/orders/{order.pk}/refunds", {"amount": 100, "reason": "sorry"})
    work_off(ahead=3 * HALF_A_DAY)
    stripe.flaws.clear()
    post(api, f"/v1/orders/{order.pk}/refunds", {"amount": 50, "reason": "so sorry"})
    attempt(Job.objects.get(task="orders.tasks.refund", state="waiting"))
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending, order.hold_reason) == (50, 100, "refund_unknown")
    post(api, f"/v1/orders/{order.pk}/release")
    work_off(ahead=HALF_A_DAY)
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending, order.held) == (150, 0, False)


def kinds_of(order: Order) -> list[str]:
    return [event.kind.removeprefix("order.") for event in timeline(order.pk, after=3)]


def test_each_refund_that_the_bank_sends_back_is_an_event_of_its_own(
    ringing: StripeDouble, pay: Pay, api: Api, shop: Client
) -> None:
    """The first one puts the order on hold; whoever watches the version sees the second one too."""
    order = pay()
    work_off()
    for amount in (100, 50):
        post(api, f"/v1/orders/{order.pk}/refunds", {"amount": amount, "reason": "sorry"})
    work_off_and_listen(7)
    refunds = PaymentOperation.objects.filter(kind="refund").order_by("amount")
    etags = [api.get(f"/v1/orders/{order.pk}")["ETag"]]
    for heard_of, operation in enumerate(refunds, start=8):
        ringing.decide_refund(operation.reference, "failed")
        work_off_and_listen(heard_of)
        if_changed = {"If-None-Match": etags[-1]}
        answer = api.get(f"/v1/orders/{order.pk}", headers=if_changed)
        assert answer.status_code == 200
        etags.append(answer["ETag"])
    assert kinds_of(order)[4:] == ["refund_failed", "held", "refund_failed"]
    assert [answer.json()[name] for name in ("refunded", "payment_state")] == [0, "paid"]
    assert list(broken(MONEY, limit=9)) == []
    today = Day(timezone.localdate())
    [yen] = figures.at_once(shop.pk, today, until=timezone.now() + HALF_A_DAY)
    assert (yen["gross"], yen["refunds"], yen["net"]) == (660, 0, 660)


def test_a_charge_of_a_cancelled_order_that_is_declined_is_an_event(
    stripe: StripeDouble, pay: Pay
) -> None:
    order = pay("pm_double_processing")
    work_off()
    with transaction.atomic():
        Order.objects.locked(order.pk).cancel("requested")
    stripe.decide(PaymentOperation.objects.get().reference, "requires_payment_method")
    work_off(ahead=HALF_A_DAY)
    newest = timeline(order.pk).last()
    assert newest is not None
    snapshot = newest.data["order"]
    assert (newest.kind, snapshot["payment_state"]) == ("order.payment_failed", "failed")
    assert list(broken(MONEY, limit=9)) == []


def test_a_charge_that_comes_too_late_is_an_event_with_its_refund(
    stripe: StripeDouble, pay: Pay
) -> None:
    order = pay("pm_double_processing")
    work_off()
    with transaction.atomic():
        Order.objects.locked(order.pk).cancel("requested")
    stripe.decide(PaymentOperation.objects.get().reference, "succeeded")
    work_off(ahead=HALF_A_DAY)
    events = timeline(order.pk, after=3)
    assert [
        (event.kind, *(event.data["order"][name] for name in ("captured", "refund_pending")))
        for event in events
    ] == [("order.refund_pending", 660, 660), ("order.refunded", 660, 0)]


# --- disputes -------------------------------------------------------------------------------------


@pytest.fixture
def disputed(ringing: StripeDouble, pay: Pay) -> Order:
    """A paid order that is on hold for it; five events were heard."""
    order = pay()
    work_off()
    until(heard(3), "the payment's events are heard", within_s=10)
    ringing.dispute(PaymentOperation.objects.get().reference)
    work_off_and_listen(4)
    order.refresh_from_db()
    assert (order.state, order.held, order.hold_reason) == ("confirmed", True, "disputed")
    return order


def test_what_a_person_decides_of_a_dispute_stands_whatever_is_heard_of_it_later(
    ringing: StripeDouble, disputed: Order, api: Api
) -> None:
    charge = PaymentOperation.objects.get()
    post(api, f"/v1/orders/{disputed.pk}/release")
    ringing.move_dispute(charge.reference, "updated", "under_review")
    work_off_and_listen(5)
    ringing.move_dispute(charge.reference, "closed", "won")
    work_off_and_listen(6)
    post(api, f"/v1/orders/{disputed.pk}/refunds", {"amount": 60, "reason": "sorry"})
    work_off_and_listen(8)
    assert "charge.refunded" in {event["type"] for event in ringing.book.events.values()}
    disputed.refresh_from_db()
    assert (disputed.held, disputed.refunded) == (False, 60)
    assert kinds_of(disputed) == ["held", "released", "refund_pending", "refunded"]


def test_a_second_dispute_of_one_charge_is_news_as_the_first_was(
    ringing: StripeDouble, disputed: Order, api: Api
) -> None:
    """Once, whether the first has been decided on or not."""
    charge = PaymentOperation.objects.get()
    ringing.dispute(charge.reference)
    work_off_and_listen(5)
    post(api, f"/v1/orders/{disputed.pk}/release")
    ringing.move_dispute(charge.reference, "closed", "won")
    work_off_and_listen(6)
    assert kinds_of(disputed) == ["held", "held", "released"]
    ringing.dispute(charge.reference)
    work_off_and_listen(7)
    disputed.refresh_from_db()
    assert (disputed.held, disputed.hold_reason) == (True, "disputed")


def test_a_dispute_that_the_release_before_this_told_is_told_no_more(
    ringing: StripeDouble, disputed: Order, api: Api
) -> None:
    """It wrote down that there was one, and not which."""
    PaymentOperation.objects.update(disputes=None)
    post(api, f"/v1/orders/{disputed.pk}/release")
    ringing.move_dispute(PaymentOperation.objects.get().reference, "closed", "won")
    work_off_and_listen(5)
    assert kinds_of(disputed) == ["held", "released"]
    ringing.dispute(PaymentOperation.objects.get().reference)
    work_off_and_listen(6)
    assert kinds_of(disputed) == ["held", "released", "held"]


def test_a_disputed_order_that_is_cancelled_is_on_hold_no_more(
    ringing: StripeDouble, disputed: Order, api: Api
) -> None:
    post(api, f"/v1/orders/{disputed.pk}/cancel")
    work_off_and_listen(6)
    disputed.refresh_from_db()
    assert (disputed.state, disputed.payment_state, disputed.held) == (
        "cancelled",
        "refunded",
        False,
    )
    assert kinds_of(disputed) == ["held", "cancelled", "refunded"]


def test_a_dispute_of_an_order_that_was_sent_is_news_once(
    ringing: StripeDouble, pay: Pay, api: Api
) -> None:
    order = pay()
    work_off_and_listen(3)
    post(api, f"/v1/orders/{order.pk}/fulfilments")
    ringing.dispute(PaymentOperation.objects.get().reference)
    work_off_and_listen(4)
    ringing.move_dispute(PaymentOperation.objects.get().reference, "closed", "lost")
    work_off_and_listen(5)
    assert kinds_of(order) == ["fulfilled", "completed", "held"]
