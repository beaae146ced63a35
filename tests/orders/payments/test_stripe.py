"""Money at Stripe, over real HTTP against a double that keeps Stripe's rules: charged once,
whatever the wire does.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.operations import interventions
from celery_ledger.testing import attempt, work_off
from notifications.events import timeline
from orders.audit import disputed_by_provider
from orders.models import Order, Refund
from orders.payments import paying
from orders.payments.models import PaymentOperation
from orders.payments.provider import (
    Charge,
    ChargeStatus,
    Intent,
    ProviderRefused,
    ProviderUnavailable,
)
from orders.payments.stripe import Stripe
from orders.payments.stripe_amounts import from_stripe, to_stripe
from orders.payments.stripe_answers import as_charge
from orders.tasks import on_provider_event, pay_again
from tests.celery_ledger.errors import error_of
from tests.doubles.stripe import StripeDouble
from tests.doubles.stripe_book import objects_in
from tests.doubles.stripe_wire import SECRET_KEY
from tests.machine.ports import free_port
from tests.orders.payments.at_stripe import HALF_A_DAY, intent_of
from tests.orders.payments.conftest import Pay
from tests.rooms import CHECKOUT
from tests.shop import Api, post
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


def standing(order: Order) -> tuple[str, str, str, int, bool]:
    order.refresh_from_db()
    return (
        order.state,
        order.payment_state,
        order.hold_reason or order.reason,
        order.captured,
        order.held,
    )


def posts(stripe: StripeDouble) -> int:
    return sum(request.method == "POST" for request in stripe.requests)


def charge_job() -> Job:
    return Job.objects.get(task="orders.tasks.charge")


# --- whatever the card does -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "expected", "reason"),
    [
        ("pm_card_visa", ("confirmed", "paid", "", 660, False), ""),
        (
            "pm_card_chargeDeclined",
            ("cancelled", "failed", "payment_declined", 0, False),
            "generic_decline",
        ),
        (
            "pm_card_chargeDeclinedInsufficientFunds",
            ("cancelled", "failed", "payment_declined", 0, False),
            "insufficient_funds",
        ),
    ],
)
def test_the_banks_word_is_final_at_once(
    stripe: StripeDouble, pay: Pay, token: str, expected: tuple[Any, ...], reason: str
) -> None:
    order = pay(token)
    work_off()
    assert standing(order) == expected
    [made] = objects_in(stripe.path)
    operation = PaymentOperation.objects.get()
    assert (operation.reference, operation.reason, posts(stripe)) == (made["id"], reason, 1)
    assert Job.objects.exclude(state="done").count() == 0


def test_what_we_send_names_our_order_and_carries_our_key(stripe: StripeDouble, pay: Pay) -> None:
    order = pay()
    work_off()
    [sent] = stripe.requests
    assert (sent.key, sent.params) == (
        f"{order.pk}-charge",
        {
            "amount": "660",
            "currency": "jpy",
            "payment_method": "pm_card_visa",
            "confirm": "true",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
            "metadata[order]": str(order.pk),
            "metadata[operation]": str(PaymentOperation.objects.get().pk),
        },
    )


@pytest.mark.parametrize(
    ("token", "payment_state", "decision", "expected"),
    [
        ("pm_double_processing", "pending", "succeeded", ("confirmed", "paid", "", 660, False)),
        (
            "pm_double_processing",
            "pending",
            "requires_payment_method",
            ("cancelled", "failed", "payment_declined", 0, False),
        ),
        (
            "pm_card_threeDSecure2Required",
            "action_required",
            "succeeded",
            ("confirmed", "paid", "", 660, False),
        ),
        (
            "pm_card_threeDSecure2Required",
            "action_required",
            "canceled",
            ("cancelled", "failed", "payment_declined", 0, False),
        ),
    ],
)
def test_what_is_open_is_shown_as_such_and_followed_to_its_end(
    stripe: StripeDouble,
    pay: Pay,
    token: str,
    payment_state: str,
    decision: str,
    expected: tuple[Any, ...],
) -> None:
    order = pay(token)
    work_off()
    assert standing(order) == ("reserved", payment_state, "", 0, False)
    stripe.decide(PaymentOperation.objects.get().reference, decision)
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == expected
    assert (len(objects_in(stripe.path)), posts(stripe)) == (1, 1)


@pytest.mark.parametrize(
    ("acts", "expected"),
    [
        (False, ("cancelled", "failed", "expired", 0, False)),
        (True, ("cancelled", "refunded", "expired", 660, False)),
    ],
)
def test_a_charge_that_its_customer_has_left_is_called_off_when_the_order_is_cancelled(
    stripe: StripeDouble,
    pay: Pay,
    monkeypatch: pytest.MonkeyPatch,
    acts: bool,
    expected: tuple[Any, ...],
) -> None:
    """Or the customer might pay for it next week. Who acts at the last moment is paid back."""
    order = pay("pm_card_threeDSecure2Required")
    work_off()
    operation = PaymentOperation.objects.get()
    with transaction.atomic():
        Order.objects.locked(order.pk).cancel("expired")
    if acts:
        call_off = Stripe.call_off

        def too_late(self: Stripe, intent: Intent) -> Charge | None:
            stripe.decide(operation.reference, "succeeded")
            return call_off(self, intent)

        monkeypatch.setattr(Stripe, "call_off", too_late)
    work_off(ahead=timedelta(minutes=2))
    assert standing(order) == expected
    [made] = [made for made in objects_in(stripe.path) if made["object"] == "payment_intent"]
    assert made["status"] == ("succeeded" if acts else "canceled")
    assert not Job.objects.exclude(state="done").exists()


def test_that_the_customer_has_to_act_is_an_event_so_that_whoever_watches_the_version_sees_it(
    stripe: StripeDouble, pay: Pay
) -> None:
    order = pay("pm_card_threeDSecure2Required")
    work_off()
    for _ in range(2):  # hearing the same again is no event
        on_provider_event.delay(str(PaymentOperation.objects.get().pk))
        work_off()
    events = [(event.kind, event.data["order"]["payment_state"]) for event in timeline(order.pk)]
    assert events[2:] == [("order.action_required", "action_required")]
    order.refresh_from_db()
    assert order.version == 3


def test_that_the_customer_has_to_act_is_found_by_asking_when_no_event_tells(
    stripe: StripeDouble, pay: Pay
) -> None:
    """The bank asks for it later: processing, then requires_action, then succeeded, and nobody
    rings.
    """
    order = pay("pm_double_processing")
    work_off()
    operation = PaymentOperation.objects.get()
    asking = Job.objects.get(task="orders.tasks.poll_payment")
    stripe.decide(operation.reference, "requires_action")
    Job.objects.update(due_at=order.created_at)
    attempt(asking)
    assert standing(order) == ("reserved", "action_required", "", 0, False)
    [asking] = Job.objects.filter(task="orders.tasks.poll_payment", state="waiting")
    Job.objects.update(due_at=order.created_at)
    attempt(asking)  # the same again is no event
    assert [event.kind for event in timeline(order.pk)][2:] == ["order.action_required"]
    stripe.decide(operation.reference, "succeeded")
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("confirmed", "paid", "", 660, False)


# --- whatever the wire does -----------------------------------------------------------------------


@pytest.mark.parametrize("flaw", ["lose_answer", "hang", "500_after", "garbage", "503", "429"])
def test_an_answer_that_does_not_come_costs_one_charge(
    stripe: StripeDouble, pay: Pay, stripe_settings: Any, flaw: str
) -> None:
    stripe_settings.PAYMENT_TIMEOUT_S = 0.5 if flaw == "hang" else 5.0
    stripe.flaw(flaw)
    order = pay()
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("confirmed", "paid", "", 660, False)
    assert [made["amount_received"] for made in objects_in(stripe.path)] == [660]
    assert posts(stripe) == (2 if flaw in ("503", "429") else 1), (
        "it was sent again without being asked for"
    )
    assert stripe.outlasted == 0, "a call had no time limit"


def test_a_charge_that_takes_longer_than_we_wait_is_not_made_beside_itself(
    stripe: StripeDouble, pay: Pay, stripe_settings: Any
) -> None:
    """It is in no list yet, so it is sent again, and the key says that it is in use."""
    stripe_settings.PAYMENT_TIMEOUT_S = 0.3
    stripe.flaw("slow_till_repeated")
    order = pay()
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("confirmed", "paid", "", 660, False)
    assert len(objects_in(stripe.path)) == 1
    assert posts(stripe) > 1


def test_a_decline_whose_answer_is_lost_is_found_as_a_decline(
    stripe: StripeDouble, pay: Pay
) -> None:
    stripe.flaw("lose_answer")
    order = pay("pm_card_chargeDeclinedLostCard")
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("cancelled", "failed", "payment_declined", 0, False)
    assert (PaymentOperation.objects.get().reason, posts(stripe)) == ("lost_card", 1)


def test_a_list_that_lags_does_not_charge_twice_since_the_key_replays(
    stripe: StripeDouble, pay: Pay
) -> None:
    stripe.flaw("lose_answer", method="POST")
    stripe.flaw("list_lags", method="GET")
    order = pay()
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("confirmed", "paid", "", 660, False)
    assert (len(objects_in(stripe.path)), posts(stripe)) == (1, 2)


def test_a_forgotten_key_does_not_charge_twice_since_we_ask_first(
    stripe: StripeDouble, pay: Pay
) -> None:
    """A day later Stripe would take the same key for a new payment."""
    stripe.flaw("lose_answer")
    order = pay()
    work_off()
    stripe.forget_keys()
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("confirmed", "paid", "", 660, False)
    assert (len(objects_in(stripe.path)), posts(stripe)) == (1, 1)


def test_a_500_that_stripe_goes_on_replaying_ends_on_hold_and_not_under_a_second_key(
    stripe: StripeDouble, pay: Pay
) -> None:
    stripe.flaw("500_before")
    order = pay()
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("reserved", "pending", "payment_unknown", 0, True)
    assert (charge_job().state, error_of(charge_job())["type"]) == ("dead", "ProviderUnavailable")
    assert {request.key for request in stripe.requests if request.method == "POST"} == {
        f"{order.pk}-charge"
    }
    assert objects_in(stripe.path) == []
    stripe.forget_keys()
    interventions.retry(Job.objects.filter(pk=charge_job().pk), by="a test")
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("confirmed", "paid", "", 660, False)
    assert len(objects_in(stripe.path)) == 1


def test_two_that_charge_at_once_under_one_key_make_one_charge(stripe: StripeDouble) -> None:
    intent, together = intent_of(), threading.Barrier(2)
    stripe.flaw("slow")

    def charge(_: int) -> Charge | str:
        together.wait(timeout=10)
        try:
            return Stripe().charge(intent)
        except ProviderUnavailable as exc:
            return str(exc)

    with ThreadPoolExecutor(2) as hands:
        answers = list(hands.map(charge, range(2)))
    assert sum(isinstance(answer, Charge) for answer in answers) == 1
    assert any("Stripe: 409" in str(answer) for answer in answers)
    assert len(objects_in(stripe.path)) == 1


# --- what a person has to mend --------------------------------------------------------------------


def test_a_wrong_key_puts_the_order_on_hold_at_once_and_the_right_one_releases_it(
    stripe: StripeDouble, pay: Pay, stripe_settings: Any
) -> None:
    stripe_settings.STRIPE_SECRET_KEY = "sk_test_wrong"
    order = pay()
    work_off()
    assert standing(order) == ("reserved", "pending", "payment_unknown", 0, True)
    assert (charge_job().attempts, error_of(charge_job())["type"]) == (1, "ProviderRefused")
    assert error_of(charge_job())["message"].startswith("Stripe: 401: ")
    assert "Invalid API Key" in error_of(charge_job())["message"]
    stripe_settings.STRIPE_SECRET_KEY = SECRET_KEY
    interventions.retry(Job.objects.filter(pk=charge_job().pk), by="a test")
    work_off()
    assert standing(order) == ("confirmed", "paid", "", 660, False)


def test_what_stripe_calls_invalid_is_named_and_waits_for_a_person(
    stripe: StripeDouble, pay: Pay
) -> None:
    """No customer has done anything wrong where the account does not take what the shop offers."""
    order = pay("pm_double_inactive")
    work_off()
    assert standing(order) == ("reserved", "pending", "payment_unknown", 0, True)
    assert "not activated: see your dashboard" in error_of(charge_job())["message"]
    assert (charge_job().attempts, objects_in(stripe.path)) == (1, [])


@pytest.mark.parametrize(
    ("token", "reason"), [("pm_unheard_of", "resource_missing"), ("pm_double_used", "declined")]
)
def test_a_token_that_stripe_does_not_take_is_a_decline_and_another_one_pays(
    stripe: StripeDouble, pay: Pay, token: str, reason: str
) -> None:
    only, order = pay(token), pay(payment={"token": token, "attempts": 2})
    work_off()
    assert standing(only) == ("cancelled", "failed", "payment_declined", 0, False)
    assert standing(order) == ("reserved", "failed", "", 0, False)
    with transaction.atomic():
        pay_again(Order.objects.locked(order.pk), "pm_card_visa")
    work_off()
    assert standing(order) == ("confirmed", "paid", "", 660, False)
    attempts = [(one["state"], one["reason"]) for one in paying.payment_of(order)["attempts"]]
    assert attempts == [("failed", reason), ("succeeded", None)]
    assert list(disputed_by_provider(since=HALF_A_DAY)) == []


def test_a_key_that_was_used_for_something_else_is_refused(stripe: StripeDouble) -> None:
    intent = intent_of()
    Stripe().charge(intent)
    with pytest.raises(ProviderRefused, match="other parameters"):
        Stripe().charge(intent_of(key=intent.key, amount=661))
    assert [made["amount"] for made in objects_in(stripe.path)] == [660]


# --- finding --------------------------------------------------------------------------------------


def test_a_charge_is_found_on_a_later_page_and_by_our_operation_only(stripe: StripeDouble) -> None:
    intent = intent_of()
    made = Stripe().charge(intent)
    [mine] = objects_in(stripe.path)
    others = [
        {**mine, "id": f"pi_other{index}", "metadata": {"operation": str(uuid4())}}
        for index in range(250)
    ]
    stripe.book.write(objects=others)
    assert Stripe().find(intent) == made
    assert len(stripe.requests) == 1 + 3
    assert Stripe().find(intent_of(key=intent.key)) is None


def test_a_charge_that_is_known_is_asked_for_by_its_id(stripe: StripeDouble) -> None:
    intent = intent_of()
    made = Stripe().charge(intent)
    assert Stripe().find(intent_of(reference=made.id, key=intent.key)) == replace(made, refunded=0)
    assert stripe.requests[-1].path == f"/v1/payment_intents/{made.id}"


def test_more_payments_than_we_can_look_through_are_not_taken_for_none(
    stripe: StripeDouble, stripe_settings: Any
) -> None:
    """ "Not found" would charge again."""
    stripe_settings.STRIPE_FIND_MAX_PAGES = 2
    intent = intent_of()
    Stripe().charge(intent)
    [mine] = objects_in(stripe.path)
    stripe.book.write(
        objects=[{**mine, "id": f"pi_other{index}", "metadata": {}} for index in range(250)]
    )
    with pytest.raises(ProviderRefused, match="more than 200 payments"):
        Stripe().find(intent)


def test_a_payment_of_before_our_intent_is_not_looked_at(stripe: StripeDouble) -> None:
    Stripe().find(intent_of())
    asked = stripe.requests[0].params
    assert abs(int(asked["created[gte]"]) - (timezone.now().timestamp() - 300)) < 60
    assert asked["limit"] == "100"


# --- reading what Stripe says ---------------------------------------------------------------------


def test_a_payment_seen_in_the_middle_of_being_made_is_not_taken_for_declined() -> None:
    made = {
        "id": "pi_1",
        "status": "requires_payment_method",
        "last_payment_error": None,
        "amount": 660,
    }
    assert as_charge(made, intent_of()).status == ChargeStatus.PENDING
    failed = {**made, "last_payment_error": {"code": "card_declined"}}
    charge = as_charge(failed, intent_of())
    assert (charge.status, charge.reason) == (ChargeStatus.DECLINED, "card_declined")


def test_what_is_captured_is_what_stripe_has_received() -> None:
    made = {"id": "pi_1", "status": "succeeded", "amount": 660, "amount_received": 600}
    assert as_charge(made, intent_of()).amount == 600


def test_a_status_that_a_charge_of_ours_never_has_is_not_guessed_at() -> None:
    with pytest.raises(ProviderRefused, match="requires_capture"):
        as_charge({"id": "pi_1", "status": "requires_capture", "amount": 1}, intent_of())


@pytest.mark.parametrize(
    ("currency", "ours", "stripes"),
    [
        ("JPY", 660, 660),
        ("EUR", 1250, 1250),
        ("KWD", 5000, 5000),
        ("ISK", 660, 66000),
        ("UGX", 5, 500),
        ("MGA", 1200, 12),
    ],
)
def test_amounts_are_sent_as_stripe_counts_them_and_come_back_as_ours(
    currency: str, ours: int, stripes: int
) -> None:
    assert (to_stripe(ours, currency), from_stripe(stripes, currency)) == (stripes, ours)


@pytest.mark.parametrize(
    ("currency", "amount", "says"),
    [("MGA", 1250, "MGA without decimals"), ("KWD", 1234, "1234 minor units must end in 0")],
)
def test_an_amount_that_stripe_cannot_count_is_refused_and_not_rounded(
    api: Api,
    stock: Any,
    order_body: Any,
    stripe: StripeDouble,
    currency: str,
    amount: int,
    says: str,
) -> None:
    """At the door, where its sender can mend it, and not when the goods are set aside."""
    with pytest.raises(ProviderRefused, match=says):
        to_stripe(amount, currency)
    stock()
    lines = [{"sku": "SAKE-NIGIRI", "quantity": 1, "unit_price": amount}]
    body = order_body(
        currency=currency, lines=lines, total=amount, payment={"token": "pm_card_visa"}
    )
    problem = api.place(body).json()
    assert [error["pointer"] for error in problem["errors"]] == ["/total"]
    assert says in problem["detail"]
    assert (Order.objects.count(), stripe.requests) == (0, [])


def test_a_refund_in_dinars_follows_the_rule_of_ten(
    api: Api, stripe: StripeDouble, pay: Pay
) -> None:
    order = pay(
        currency="KWD",
        total=5000,
        lines=[{"sku": "SAKE-NIGIRI", "quantity": 4, "unit_price": 1250}],
    )
    work_off()
    path = f"/v1/orders/{order.pk}/refunds"
    refused = post(api, path, {"amount": 1234, "reason": "cold"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/amount")
    assert "must end in 0" in refused.json()["detail"]
    assert (Refund.objects.count(), PaymentOperation.objects.count()) == (0, 1)
    assert post(api, path, {"amount": 1230, "reason": "cold"}).status_code == 202
    assert post(api, path, {"reason": "cold"}).status_code == 202
    work_off()
    order.refresh_from_db()
    assert (order.payment_state, order.refunded, order.held) == ("refunded", 5000, False)


def test_the_sandbox_moves_every_amount(api: Api, stock: Any, order_body: Any) -> None:
    stock()
    lines = [{"sku": "SAKE-NIGIRI", "quantity": 1, "unit_price": 1234}]
    assert api.place(order_body(currency="KWD", lines=lines, total=1234)).status_code == 202


def test_an_order_in_kronur_is_paid_in_full(stripe: StripeDouble, pay: Pay) -> None:
    order = pay(currency="ISK")
    work_off()
    assert standing(order) == ("confirmed", "paid", "", 660, False)
    assert [(made["amount"], made["currency"]) for made in objects_in(stripe.path)] == [
        (66000, "isk")
    ]


# --- a Stripe that dies ---------------------------------------------------------------------------


@pytest.fixture
def stripe_process(stripe_settings: Any, tmp_path: Path) -> Iterator["StripeProcess"]:
    process = StripeProcess(tmp_path / "book.jsonl")
    stripe_settings.STRIPE_API_BASE = process.url
    process.start()
    yield process
    process.kill()


class StripeProcess:
    """The double as a process of its own, which can be killed."""

    def __init__(self, book: Path) -> None:
        self.book, self.port = book, free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.doubles.stripe",
            "--port",
            str(self.port),
            "--book",
            str(self.book),
        ]
        self.process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        assert self.process.stdout.readline().strip() == f"Stripe's double: {self.url}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)
        if self.process.stdout:
            self.process.stdout.close()


def test_a_stripe_that_is_killed_after_booking_is_asked_when_it_is_back(
    stripe_process: StripeProcess, pay: Pay
) -> None:
    """Killed while we wait for its answer: the charge is in its book, and nobody has told us."""
    order = pay("pm_double_hang")
    attempt(Job.objects.get(task="orders.tasks.reserve"))
    charging = threading.Thread(target=until_booked_then_kill, args=(stripe_process,))
    charging.start()
    attempt(charge_job())
    charging.join(timeout=10)
    assert (charge_job().state, error_of(charge_job())["type"]) == (
        "waiting",
        "ProviderUnavailable",
    )
    Job.objects.filter(pk=charge_job().pk).update(due_at=timezone.now())
    attempt(charge_job())  # nobody is there
    assert standing(order)[:2] == ("reserved", "pending")
    stripe_process.start()
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == ("confirmed", "paid", "", 660, False)
    assert [made["metadata"]["order"] for made in objects_in(stripe_process.book)] == [
        str(order.pk)
    ]


def until_booked_then_kill(stripe: StripeProcess) -> None:
    until(lambda: bool(objects_in(stripe.book)), "the charge is booked", within_s=10)
    stripe.kill()
