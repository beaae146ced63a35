"""How orders are paid: with a card that its holder confirms, with another card, and elsewhere."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from notifications.events import timeline
from notifications.models import Delivery
from orders.audit import MONEY, STOCK, broken, disputed_by_provider
from orders.models import Fulfilment, Order, Refund, Stock
from orders.models.refund import Asked
from orders.payments import paying
from orders.payments.models import PaymentOperation
from orders.payments.outcome import apply_answer
from orders.payments.provider import Charge, ChargeStatus
from orders.tasks import (
    expire,
    expire_orders,
    give_back,
    on_provider_event,
    pay_again,
    reconcile_payments,
)
from tests.doubles.edges import Postbox, read
from tests.doubles.stripe import StripeDouble
from tests.doubles.stripe_book import objects_in
from tests.orders.payments.at_stripe import HALF_A_DAY, work_off_and_listen
from tests.orders.payments.conftest import Pay
from tests.postgres.hands import Hand
from values.refused import Refused

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)
SECURE, GOOD, BAD = "pm_card_threeDSecure2Required", "pm_card_visa", "pm_card_chargeDeclined"


def standing(order: Order) -> tuple[str, str, str, int]:
    order.refresh_from_db()
    return order.state, order.payment_state, order.reason or order.hold_reason, order.captured


def kinds_of(order: Order) -> list[str]:
    return [event.kind.removeprefix("order.") for event in timeline(order.pk)]


def attempts(order: Order) -> list[tuple[str, str | None]]:
    order.refresh_from_db()
    return [(one["state"], one["reason"]) for one in paying.payment_of(order)["attempts"]]


def try_again(order: Order, token: str) -> None:
    with transaction.atomic():
        pay_again(Order.objects.locked(order.pk), token)


def live(stripe: StripeDouble) -> list[str]:
    """What the provider could still take money by."""
    ended = ("canceled", "succeeded")
    return [made["status"] for made in objects_in(stripe.path) if made["status"] not in ended]


def assert_books_agree() -> None:
    assert [*broken(STOCK, limit=9), *broken(MONEY, limit=9)] == []
    assert list(disputed_by_provider(since=DAY)) == []


# --- what only the customer can do ----------------------------------------------------------------


def test_what_the_customer_has_to_do_is_shown_while_it_is_so_and_kept_nowhere_else(
    ringing: StripeDouble, pay: Pay, stripe_settings: Any
) -> None:
    stripe_settings.STRIPE_PUBLISHABLE_KEY = "pk_test_double"
    order = pay(SECURE)
    work_off()
    [made] = objects_in(ringing.path)
    order.refresh_from_db()
    assert paying.payment_of(order)["action"] == {
        "type": "use_stripe_sdk",
        "url": None,
        "client_secret": made["client_secret"],
        "publishable_key": "pk_test_double",
    }
    assert attempts(order) == [("action_required", None)]
    ringing.decide(made["id"], "succeeded")
    work_off_and_listen()
    assert standing(order) == ("confirmed", "paid", "", 660)
    assert paying.payment_of(order)["action"] is None
    assert PaymentOperation.objects.get().action is None


def test_no_event_delivery_or_job_ever_has_the_secret(ringing: StripeDouble, pay: Pay) -> None:
    order = pay(SECURE)
    work_off()
    secret = objects_in(ringing.path)[0]["client_secret"]
    assert PaymentOperation.objects.filter(action__client_secret=secret).exists()
    kept = [
        *timeline(order.pk).values(),
        *Delivery.objects.values(),
        *Job.objects.values(),
        *Order.objects.values(),
    ]
    assert len(kept) > 8
    assert secret not in repr(kept)
    assert secret not in repr(PaymentOperation.objects.get().look_up())


def test_a_customer_who_fails_to_confirm_cannot_pay_by_that_charge_any_more(
    ringing: StripeDouble, pay: Pay
) -> None:
    """Whoever holds the secret of a failed payment could pay it with another card, and for an order
    that has ended.
    """
    order = pay(SECURE)
    work_off()
    ringing.decide(PaymentOperation.objects.get().reference, "requires_payment_method")
    work_off_and_listen(3)
    assert standing(order) == ("cancelled", "failed", "payment_declined", 0)
    assert (live(ringing), attempts(order)) == ([], [("failed", "generic_decline")])
    assert_books_agree()


# --- another card ---------------------------------------------------------------------------------


def test_a_declined_order_is_paid_at_the_second_try(stripe: StripeDouble, pay: Pay) -> None:
    order = pay(payment={"token": BAD, "attempts": 3})
    work_off()
    assert standing(order) == ("reserved", "failed", "", 0)
    try_again(order, GOOD)
    assert standing(order)[:2] == ("reserved", "pending")
    work_off()
    assert standing(order) == ("confirmed", "paid", "", 660)
    assert attempts(order) == [("failed", "generic_decline"), ("succeeded", None)]
    assert kinds_of(order)[2:] == ["payment_failed", "payment_pending", "confirmed"]
    keys = [request.key for request in stripe.requests if request.method == "POST"]
    assert keys == [f"{order.pk}-charge", f"{order.pk}-charge-2"]
    assert_books_agree()


def test_the_last_card_that_may_be_tried_ends_the_order(stripe: StripeDouble, pay: Pay) -> None:
    order = pay(payment={"token": BAD, "attempts": 2})
    work_off()
    try_again(order, BAD)
    work_off()
    assert standing(order) == ("cancelled", "failed", "payment_declined", 0)
    assert attempts(order) == [("failed", "generic_decline")] * 2
    assert Stock.objects.get().reserved == 0
    assert_books_agree()


def test_a_customer_may_change_the_card_while_the_bank_waits(
    stripe: StripeDouble, pay: Pay
) -> None:
    """The first payment is called off before the second is made: never two that could be paid."""
    order = pay(payment={"token": SECURE, "attempts": 2})
    work_off()
    order.refresh_from_db()
    first = PaymentOperation.objects.get()
    assert paying.payment_of(order)["action"] is not None
    try_again(order, GOOD)
    left = paying.payment_of(Order.objects.get())
    assert (left["attempts_left"], left["action"]) == (1, None)
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("confirmed", "paid", "", 660)
    assert attempts(order) == [("failed", "abandoned"), ("succeeded", None)]
    posts = [request.path for request in stripe.requests if request.method == "POST"]
    assert posts[1:] == [f"/v1/payment_intents/{first.reference}/cancel", "/v1/payment_intents"]
    assert kinds_of(order)[2:] == ["action_required", "payment_pending", "confirmed"]
    assert_books_agree()


def test_what_is_heard_late_of_a_card_that_was_left_is_no_news(
    stripe: StripeDouble, pay: Pay
) -> None:
    order = pay(payment={"token": SECURE, "attempts": 2})
    work_off()
    left = PaymentOperation.objects.get()
    pending = ChargeStatus.PENDING
    late = Charge(left.reference, left.key, 660, "JPY", pending, action_required=True)
    try_again(order, GOOD)
    with transaction.atomic():
        assert apply_answer(Order.objects.locked(order.pk), left, late) is None
    assert standing(order)[:2] == ("reserved", "pending")
    assert kinds_of(order)[2:] == ["action_required", "payment_pending"]


def test_who_confirms_while_choosing_another_card_pays_once(stripe: StripeDouble, pay: Pay) -> None:
    order = pay(payment={"token": SECURE, "attempts": 2})
    work_off()
    try_again(order, GOOD)
    stripe.decide(PaymentOperation.objects.get().reference, "succeeded")
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("confirmed", "paid", "", 660)
    assert (attempts(order), len(objects_in(stripe.path))) == ([("succeeded", None)], 1)
    assert_books_agree()


def test_an_order_that_waits_for_another_card_expires_and_leaves_nothing_to_pay(
    stripe: StripeDouble, pay: Pay
) -> None:
    order = pay(payment={"token": SECURE, "attempts": 2})
    work_off()
    try_again(order, GOOD)
    with transaction.atomic():
        give_back(Order.objects.locked(order.pk).cancel("expired"))
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("cancelled", "failed", "expired", 0)
    assert (live(stripe), Stock.objects.get().reserved) == ([], 0)
    assert_books_agree()


def test_a_payment_that_comes_true_after_another_was_made_waits_for_a_person(
    stripe: StripeDouble, pay: Pay
) -> None:
    """No provider does so. Should one, the books stay as they are, and it is news once."""
    order = pay(payment={"token": BAD, "attempts": 2})
    work_off()
    try_again(order, GOOD)
    work_off()
    first = PaymentOperation.objects.get(kind="tried")
    late = Charge(first.reference, first.key, 660, "JPY", ChargeStatus.SUCCEEDED)
    for _ in range(2):
        with transaction.atomic():
            locked = Order.objects.locked(order.pk)
            apply_answer(locked, first, late)
            locked.release()
    assert kinds_of(order)[4:] == ["confirmed", "held", "released"]
    assert standing(order) == ("confirmed", "paid", "", 660)


def test_postgres_knows_one_charge_of_an_order(stripe: StripeDouble, pay: Pay) -> None:
    order = pay(payment={"token": BAD, "attempts": 2})
    work_off()
    with pytest.raises(IntegrityError, match="one_charge_per_order"), transaction.atomic():
        PaymentOperation.objects.intend_charge(order, attempt=2)


def test_a_card_that_is_chosen_just_before_the_time_is_over_is_not_charged_after_it(
    stripe: StripeDouble, pay: Pay, one: Hand, two: Hand
) -> None:
    """Whoever ends the order waits for the choice, and whoever chooses for the end."""
    order = pay(payment={"token": BAD, "attempts": 3})
    work_off()
    one.open_transaction()
    one.do(lambda: pay_again(Order.objects.locked(order.pk), GOOD))
    one.do(lambda: Order.objects.update(expires_at=order.created_at))
    ending = two.begin(lambda: expire_now(order))
    two.wait_until_blocked()
    one.commit()
    ending.result(timeout=10)
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("cancelled", "none", "expired", 0)
    assert attempts(order) == [("failed", "generic_decline"), ("withdrawn", None)]
    assert (len(objects_in(stripe.path)), Stock.objects.get().reserved) == (1, 0)
    assert_books_agree()


def test_an_order_whose_time_is_over_takes_no_card(
    stripe: StripeDouble, pay: Pay, one: Hand, two: Hand
) -> None:
    order = pay(payment={"token": BAD, "attempts": 3})
    work_off()
    Order.objects.update(expires_at=order.created_at)
    with pytest.raises(Refused, match="is expired"):  # also before anybody has ended it
        try_again(order, GOOD)
    one.open_transaction()
    one.do(lambda: expire_now(order))
    choosing = two.begin(lambda: try_again(order, GOOD))
    two.wait_until_blocked()
    one.commit()
    with pytest.raises(Refused, match="is cancelled"):
        choosing.result(timeout=10)
    assert_books_agree()


def expire_now(order: Order) -> None:
    with transaction.atomic():
        expire(str(order.pk))


@pytest.mark.parametrize(
    ("payment", "worked_off", "why"),
    [
        ({"token": GOOD}, False, "is received: wait until its goods are set aside"),
        ({"token": GOOD, "attempts": 2}, True, "is paid"),
        ({"token": BAD}, True, "is cancelled"),
        ({"token": "pm_double_processing", "attempts": 2}, True, "has a payment under way"),
        ({"token": SECURE}, True, "has no attempt left"),
        ({"method": "bank_transfer"}, True, "is paid by bank_transfer: mark it as paid once it is"),
    ],
)
def test_what_cannot_be_paid_again_is_refused_in_a_sentence(
    stripe: StripeDouble, pay: Pay, payment: Any, worked_off: bool, why: str
) -> None:
    order = pay(payment=payment)
    if worked_off:
        work_off()
    before = kinds_of(order)
    with pytest.raises(Refused) as refused:
        try_again(order, GOOD)
    assert (refused.value.slug, str(refused.value)) == (
        "not-payable",
        f"Order {order.number} {why}.",
    )
    assert kinds_of(order) == before


def test_postgres_knows_that_what_is_sent_is_paid(stripe: StripeDouble, pay: Pay) -> None:
    pay(payment={"method": "cod"})
    work_off()
    with pytest.raises(IntegrityError, match="order_confirmed_is_paid"), transaction.atomic():
        Order.objects.update(units_fulfilled=1)


# --- elsewhere ------------------------------------------------------------------------------------


def mark_paid(order: Order, *, amount: int | None = None) -> None:
    with transaction.atomic():
        locked = Order.objects.locked(order.pk)
        paying.mark_paid(locked, reference="receipt 7", amount=amount)


@pytest.mark.parametrize("method", ["manual", "bank_transfer"])
def test_an_order_that_is_paid_elsewhere_waits_for_it_for_days_and_is_refunded_elsewhere(
    stripe: StripeDouble, pay: Pay, method: str
) -> None:
    order = pay(payment={"method": method})
    # a worker of the release before would charge it
    assert not Job.objects.filter(task="orders.tasks.reserve").exists()
    work_off()
    assert standing(order) == ("reserved", "pending", "", 0)
    assert order.expires_at is not None
    assert order.expires_at - order.created_at > 6 * DAY
    mark_paid(order)
    assert standing(order) == ("confirmed", "paid", "", 660)
    assert attempts(order) == [("succeeded", None)]
    with transaction.atomic():
        give_back(Refund.objects.promise(Order.objects.locked(order.pk), Asked(60), reason="x"))
    work_off()
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending, stripe.requests) == (60, 0, [])
    assert kinds_of(order)[2:] == ["confirmed", "refund_pending", "refunded"]
    assert_books_agree()


def test_what_is_paid_on_delivery_is_confirmed_unpaid_and_collected_when_it_is_sent(
    stripe: StripeDouble, pay: Pay
) -> None:
    order = pay(payment={"method": "cod"})
    work_off()
    assert standing(order) == ("confirmed", "pending", "", 0)
    with transaction.atomic():
        locked = Order.objects.locked(order.pk)
        Fulfilment.objects.ship(locked, [(locked.own_lines[0], 1)])
    assert standing(order) == ("confirmed", "paid", "", 660)
    with transaction.atomic():
        give_back(Order.objects.locked(order.pk).cancel("broke"))
    work_off()
    order.refresh_from_db()
    assert (order.state, order.captured, order.refunded) == ("completed", 660, 330)
    assert kinds_of(order)[2:] == ["confirmed", "paid", "fulfilled", "completed", "refunded"]
    assert_books_agree()


@pytest.mark.parametrize(
    ("method", "by"), [("manual", "cancel"), ("cod", "cancel"), ("cod", "withdrawal")]
)
def test_what_nobody_has_paid_for_ends_without_money(
    stripe: StripeDouble, pay: Pay, method: str, by: str
) -> None:
    order = pay(payment={"method": method})
    work_off()
    with transaction.atomic():
        locked = Order.objects.locked(order.pk)
        if by == "cancel":
            assert locked.cancel("requested") is None
        else:
            units = [(line, line.open) for line in locked.own_lines]
            Refund.objects.promise(locked, Asked(0, units, restock=True), reason="x")
    assert standing(order)[:2] == ("cancelled", "none")
    assert Stock.objects.get().reserved == 0
    assert_books_agree()


def test_cash_pays_an_order_whose_card_was_declined(stripe: StripeDouble, pay: Pay) -> None:
    order = pay(payment={"token": BAD, "attempts": 2})
    work_off()
    mark_paid(order, amount=660)
    assert standing(order) == ("confirmed", "paid", "", 660)
    assert attempts(order) == [("failed", "generic_decline"), ("succeeded", None)]
    assert_books_agree()


@pytest.mark.parametrize(
    ("payment", "worked_off", "why"),
    [
        ({"method": "manual"}, False, "is received: wait until its goods are set aside"),
        ({"token": SECURE}, True, "has a payment under way"),
        ({"token": GOOD}, True, "is paid"),
        ({"token": BAD}, True, "is cancelled"),
    ],
)
def test_what_cannot_be_marked_paid_is_refused_in_a_sentence(
    stripe: StripeDouble, pay: Pay, payment: Any, worked_off: bool, why: str
) -> None:
    order = pay(payment=payment)
    if worked_off:
        work_off()
    with pytest.raises(Refused) as refused:
        mark_paid(order)
    assert str(refused.value) == f"Order {order.number} {why}."


def test_mails_say_how_an_order_is_paid(stripe: StripeDouble, pay: Pay, postbox: Postbox) -> None:
    pay(payment={"method": "cod"}, locale="en")
    pay(payment={"method": "cod"}, locale="ja")
    work_off()
    texts = [read(raw)[1] for raw in postbox.mails]
    assert [("take the payment" in text, "お支払いを確認" in text) for text in texts] == [
        (False, False)
    ] * 4
    sentences = ("Please pay ¥660 when it is handed over", "¥660 をお支払いください")
    assert [sum(one in text for text in texts) for one in sentences] == [1, 1]


def test_another_amount_than_the_total_is_refused(stripe: StripeDouble, pay: Pay) -> None:
    order = pay(payment={"method": "manual"})
    work_off()
    with pytest.raises(Refused) as refused:
        mark_paid(order, amount=600)
    assert refused.value.errors == (("/amount", "must be what the order comes to, 660"),)


def test_a_transfer_that_does_not_come_expires(stripe: StripeDouble, pay: Pay) -> None:
    order = pay(payment={"method": "bank_transfer"})
    work_off()
    Order.objects.update(expires_at=order.created_at)
    expire_orders.delay()
    work_off()
    assert standing(order) == ("cancelled", "none", "expired", 0)
    with pytest.raises(Refused, match="is cancelled"):
        mark_paid(order)


def test_what_stripe_cannot_move_is_no_matter_where_it_moves_nothing(
    stripe: StripeDouble, pay: Pay
) -> None:
    lines = [{"sku": "SAKE-NIGIRI", "quantity": 1, "unit_price": 1001}]
    body: dict[str, Any] = {"currency": "KWD", "lines": lines, "total": 1001}
    with pytest.raises(Refused):
        pay(**body)
    assert pay(payment={"method": "cod"}, **body).state == "received"


# --- slow banks and vouchers ----------------------------------------------------------------------


def run_out(order: Order) -> None:
    Order.objects.update(expires_at=order.created_at)
    expire_orders.delay()
    work_off()


def test_what_a_bank_is_still_at_does_not_expire_as_unpaid(stripe: StripeDouble, pay: Pay) -> None:
    order = pay("pm_double_processing")
    work_off()
    run_out(order)
    assert standing(order) == ("reserved", "pending", "", 0)
    assert order.expires_at is not None
    assert order.expires_at - order.created_at > 13 * DAY
    assert kinds_of(order)[2:] == ["payment_pending"]
    stripe.decide(PaymentOperation.objects.get().reference, "succeeded")
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("confirmed", "paid", "", 660)


def test_what_a_bank_is_at_for_ever_expires_in_the_end(stripe: StripeDouble, pay: Pay) -> None:
    order = pay("pm_double_processing")
    work_off()
    PaymentOperation.objects.update(may_take_until=order.created_at)
    run_out(order)
    assert standing(order) == ("cancelled", "pending", "expired", 0)


def test_what_takes_long_is_asked_about_for_as_long_and_troubles_nobody(
    stripe: StripeDouble, pay: Pay
) -> None:
    """Whoever asks gives up after hours, and then whoever reconciles asks again."""
    order = pay("pm_double_konbini")
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("reserved", "action_required", "", 0)
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}
    stripe.decide(PaymentOperation.objects.get().reference, "succeeded")
    PaymentOperation.objects.update(asked_at=order.created_at - DAY)
    reconcile_payments.delay()
    work_off()
    assert standing(order) == ("confirmed", "paid", "", 660)


def test_once_the_customer_has_acted_the_order_waits_for_the_bank(
    stripe: StripeDouble, pay: Pay
) -> None:
    """Then there is nothing to do any more, and a bank may take long."""
    order = pay(SECURE)
    work_off()
    stripe.decide(PaymentOperation.objects.get().reference, "processing")
    work_off(ahead=timedelta(minutes=5))
    assert standing(order) == ("reserved", "pending", "", 0)
    assert (paying.payment_of(order)["action"], attempts(order)) == (None, [("pending", None)])
    assert kinds_of(order)[2:] == ["action_required", "payment_pending"]
    assert order.expires_at is not None
    assert order.expires_at - order.created_at > 13 * DAY


def test_a_voucher_is_shown_and_its_order_kept_while_it_can_be_paid(
    stripe: StripeDouble, pay: Pay
) -> None:
    order = pay("pm_double_konbini")
    work_off()
    assert standing(order) == ("reserved", "action_required", "", 0)
    action = paying.payment_of(order)["action"]
    assert action is not None
    assert (action["type"], (action["url"] or "").rpartition("/")[0]) == (
        "konbini_display_details",
        "https://payments.stripe.test/voucher",
    )
    assert order.expires_at is not None
    assert order.expires_at - order.created_at > 3 * DAY
    stripe.decide(PaymentOperation.objects.get().reference, "requires_payment_method")
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("cancelled", "failed", "payment_declined", 0)


@pytest.mark.parametrize("token", ["pm_double_paypay", SECURE])
def test_with_redirects_a_customer_is_led_to_the_bank_and_back_to_the_order(
    stripe: StripeDouble, pay: Pay, stripe_settings: Any, token: str
) -> None:
    stripe_settings.STRIPE_REDIRECTS = True
    order = pay(token)
    work_off()
    assert standing(order) == ("reserved", "action_required", "", 0)
    action = paying.payment_of(order)["action"]
    assert action is not None
    assert (action["type"], (action["url"] or "")[:33]) == (
        "redirect_to_url",
        "https://hooks.stripe.test/redirec",
    )
    [made] = objects_in(stripe.path)
    assert made["return_url"] == f"{stripe_settings.SITE_URL}/o/{order.public_token}/"


# --- the provider's own pages ---------------------------------------------------------------------


def test_a_refund_on_stripes_own_pages_counts_and_stops_what_is_to_be_sent(
    ringing: StripeDouble, pay: Pay
) -> None:
    order = pay(GOOD)
    work_off_and_listen(3)
    charge = PaymentOperation.objects.get()
    by_hand = ringing.refund_by_hand(charge.reference, 100)
    work_off_and_listen(5)
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending, order.hold_reason) == (100, 0, "refunded_by_hand")
    assert kinds_of(order)[3:] == ["held", "refund_pending", "refunded"]
    with pytest.raises(Refused, match="held"), transaction.atomic():
        Fulfilment.objects.ship(Order.objects.locked(order.pk))
    with transaction.atomic():
        Order.objects.locked(order.pk).release()
    ringing.resend()
    work_off(ahead=HALF_A_DAY)
    assert kinds_of(order)[6:] == ["released"]
    assert_books_agree()
    ringing.decide_refund(by_hand, "failed")
    work_off_and_listen(6)
    order.refresh_from_db()
    assert (order.refunded, order.hold_reason) == (0, "refund_failed")
    assert_books_agree()


def test_refunds_by_hand_beside_ours_add_up(ringing: StripeDouble, pay: Pay) -> None:
    """Ours is refused by Stripe, since the money is gone; then the other one is noted too."""
    order = pay(GOOD)
    work_off_and_listen(3)
    charge = PaymentOperation.objects.get()
    with transaction.atomic():
        give_back(Refund.objects.promise(Order.objects.locked(order.pk), reason="x"))
    ringing.refund_by_hand(charge.reference, 600)
    work_off_and_listen(5)
    order.refresh_from_db()
    assert (order.refund_pending, order.held) == (0, True)
    on_provider_event.delay(str(charge.pk))
    work_off()
    order.refresh_from_db()
    assert (order.refunded, order.refund_pending) == (600, 0)
    assert_books_agree()


def test_a_refund_by_hand_of_an_order_that_was_sent_only_counts(
    ringing: StripeDouble, pay: Pay
) -> None:
    order = pay(GOOD)
    work_off_and_listen(3)
    with transaction.atomic():
        Fulfilment.objects.ship(Order.objects.locked(order.pk))
    ringing.refund_by_hand(PaymentOperation.objects.get().reference, 660)
    work_off_and_listen(5)
    assert standing(order) == ("completed", "refunded", "", 660)
    assert_books_agree()
