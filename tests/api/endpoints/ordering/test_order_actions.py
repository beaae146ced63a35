"""Cancel, fulfil, refund, hold, release: over HTTP, to the provider's book and the stock's."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.operations import interventions
from celery_ledger.testing import attempt, work_off
from notifications.models import Event
from orders.models import ApiKey, Client, Order, Stock, StockMovement
from orders.payments.models import PaymentOperation
from orders.payments.provider import Charge, EventNotice, Intent, ProviderUnavailable
from orders.payments.sandbox import Sandbox
from orders.payments.sandbox_book import SandboxCharge, SandboxRefund
from orders.states import HeldFor
from orders.tasks import (
    expire_orders,
    hold_order,
    on_provider_event,
    poll_payment,
    reconcile_payments,
    record_provider_event,
)
from tests.orders.books import books_balance, given_back
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
LATER = timedelta(hours=12)
Ordered = Callable[..., str]
LINES = [
    {"sku": "SAKE-NIGIRI", "quantity": 3, "unit_price": 300, "tax": 100},
    {"sku": "UNI-NIGIRI", "quantity": 1, "unit_price": 900},
]


@pytest.fixture
def ordered(api: Api, stock: Any, order_body: Callable[..., Any]) -> Ordered:
    """Two skus and shipping, 2,410 yen in all; worked off unless told. Returns the order's path."""
    stock("SAKE-NIGIRI", 10)
    stock("UNI-NIGIRI", 5)

    def order(token: str = "tok_ok", *, worked_off: bool = True, **changes: Any) -> str:
        body = order_body(
            external_id=str(uuid4()),
            lines=LINES,
            shipping={"amount": 450, "tax": 60},
            total=2410,
            payment={"token": token},
            **changes,
        )
        path: str = api.place(body, key=str(uuid4())).json()["links"]["self"]
        if worked_off:
            work_off(ahead=timedelta(seconds=30))
        return path

    return order


def on_hand() -> dict[str, tuple[int, int]]:
    assert books_balance()
    return {row.sku: (row.on_hand, row.reserved) for row in Stock.objects.all()}


def kinds() -> list[str]:
    return [event.kind.removeprefix("order.") for event in Event.objects.order_by("subject", "seq")]


def seen(api: Api, path: str) -> tuple[str, str, str]:
    order = api.get(path).json()
    return order["state"], order["payment_state"], order["fulfilment_state"]


# --- cancel ---------------------------------------------------------------------------------------


def test_a_received_order_is_cancelled_at_once_and_never_charged(
    api: Api, ordered: Ordered
) -> None:
    path = ordered(worked_off=False)
    answer = post(api, f"{path}/cancel", {"reason": "changed my mind"})
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (
        202,
        "cancelled",
        "changed my mind",
    )
    work_off(ahead=LATER)
    assert (seen(api, path), SandboxCharge.objects.count()) == (("cancelled", "none", "none"), 0)
    assert on_hand() == {"SAKE-NIGIRI": (10, 0), "UNI-NIGIRI": (5, 0)}


def test_a_reserved_order_gives_its_goods_back_and_its_charge_is_not_made(
    api: Api, ordered: Ordered
) -> None:
    path = ordered(worked_off=False)
    step("reserve")
    assert (seen(api, path)[0], on_hand()["SAKE-NIGIRI"]) == ("reserved", (10, 3))
    post(api, f"{path}/cancel")
    assert PaymentOperation.objects.get().state == "void"
    work_off(ahead=LATER)
    assert (seen(api, path), SandboxCharge.objects.count()) == (("cancelled", "none", "none"), 0)
    assert on_hand() == {"SAKE-NIGIRI": (10, 0), "UNI-NIGIRI": (5, 0)}


def step(name: str) -> None:
    """One attempt at each waiting job of this task of the shop."""
    for job in Job.objects.filter(task=f"orders.tasks.{name}", state="waiting"):
        Job.objects.filter(pk=job.pk).update(due_at=timezone.now() - timedelta(seconds=1))
        attempt(job)


def test_a_paid_order_that_is_cancelled_gets_its_money_and_goods_back(
    api: Api, ordered: Ordered
) -> None:
    path = ordered()
    answer = post(api, f"{path}/cancel", {"reason": "requested"})
    assert (answer.status_code, answer.json()["refund_pending"]) == (202, 2410)
    work_off()
    assert (seen(api, path), given_back()) == (("cancelled", "refunded", "none"), 2410)
    assert on_hand() == {"SAKE-NIGIRI": (10, 0), "UNI-NIGIRI": (5, 0)}
    assert kinds() == ["received", "reserved", "confirmed", "cancelled", "refunded"]


def test_cancelling_twice_is_cancelling_once(api: Api, ordered: Ordered) -> None:
    path = ordered()
    first, second = post(api, f"{path}/cancel"), post(api, f"{path}/cancel")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["version"] == second.json()["version"]
    work_off()
    assert given_back() == 2410


def test_an_order_that_is_sent_in_part_is_completed_with_that_when_it_is_cancelled(
    api: Api, ordered: Ordered
) -> None:
    """What was not sent goes back, goods and money; what was sent is kept, and its shipping too."""
    path = ordered()
    post(api, f"{path}/fulfilments", {"lines": [{"sku": "UNI-NIGIRI", "quantity": 1}]})
    post(api, f"{path}/hold")
    first = post(api, f"{path}/cancel", {"reason": "no time"})
    second = post(api, f"{path}/cancel", {"reason": "again"})
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    ended = [
        first.json()[name] for name in ("state", "reason", "held", "refund_pending", "version")
    ]
    assert ended == ["completed", "no time", False, 1000, 6]
    work_off()
    assert (seen(api, path), given_back()) == (("completed", "partially_refunded", "full"), 1000)
    assert on_hand() == {"SAKE-NIGIRI": (10, 0), "UNI-NIGIRI": (4, 0)}
    assert kinds()[3:] == ["fulfilled", "held", "completed", "refunded"]


def test_an_order_that_is_all_sent_is_not_cancelled(api: Api, ordered: Ordered) -> None:
    path = ordered()
    post(api, f"{path}/fulfilments")
    answer = post(api, f"{path}/cancel")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-cancellable")
    assert "is completed; refund" in answer.json()["detail"]


def test_a_charge_that_succeeds_after_the_cancellation_is_refunded_by_itself(
    api: Api, ordered: Ordered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The customer cancels while the provider is charging."""
    charge = Sandbox.charge

    def charge_while_cancelling(self: Sandbox, intent: Any) -> Any:
        made = charge(self, intent)
        assert post(api, f"/v1/orders/{intent.metadata['order']}/cancel").status_code == 202
        return made

    monkeypatch.setattr(Sandbox, "charge", charge_while_cancelling)
    path = ordered()
    assert (seen(api, path), given_back()) == (("cancelled", "refunded", "none"), 2410)
    assert api.get(f"{path}/refunds").json()["data"][0]["reason"] == "paid_after_cancellation"
    assert on_hand()["SAKE-NIGIRI"] == (10, 0)


def test_an_unanswered_charge_of_a_cancelled_order_is_found_and_refunded(
    api: Api, ordered: Ordered, settings: Any
) -> None:
    settings.PAYMENT_TIMEOUT_S = 0.01
    path = ordered("tok_timeout", worked_off=False)
    step("reserve")
    step("charge")  # charged, and never answered
    assert (seen(api, path)[0], SandboxCharge.objects.count()) == ("reserved", 1)
    post(api, f"{path}/cancel")
    work_off(ahead=LATER)
    assert (seen(api, path), given_back()) == (("cancelled", "refunded", "none"), 2410)


def test_a_charge_that_was_noted_and_never_made_is_forgotten_in_the_end(
    api: Api, ordered: Ordered, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """The worker died between the note and the call; the order was cancelled; nobody charges it any
    more.
    """
    monkeypatch.setattr(Sandbox, "charge", lambda *_: 1 / 0)
    path = ordered()
    assert PaymentOperation.objects.get().state == "sent"
    post(api, f"{path}/cancel")
    monkeypatch.undo()
    PaymentOperation.objects.update(asked_at=timezone.now() - timedelta(hours=1))
    reconcile_payments()
    settings.PAYMENT_MOOT_AFTER = timedelta(0)
    work_off(ahead=LATER)
    assert (PaymentOperation.objects.get().state, SandboxCharge.objects.count()) == ("void", 0)
    assert seen(api, path) == ("cancelled", "none", "none")


def test_a_charge_that_is_forgotten_takes_its_order_off_hold(api: Api, ordered: Ordered) -> None:
    """The provider was gone for so long that the order expired and the charge's job gave up."""
    path = ordered(worked_off=False)
    step("reserve")
    PaymentOperation.objects.update(state="sent", created_at=timezone.now() - LATER)
    post(api, f"{path}/cancel")
    hold_order.delay(path.removeprefix("/v1/orders/"), "payment_unknown")
    step("hold_order")
    assert api.get(path).json()["hold_reason"] == "payment_unknown"
    poll_payment.delay(operation_of(path))
    work_off()
    assert (PaymentOperation.objects.get().state, api.get(path).json()["held"]) == ("void", False)


def test_a_charge_is_not_given_up_while_it_is_made_however_long_it_had_waited(
    api: Api, ordered: Ordered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled and reconciled between the note and the booking, and then the provider's answer is
    lost.
    """

    def charge(sandbox: Sandbox, intent: Intent) -> Charge:
        monkeypatch.undo()
        post(api, f"{path}/cancel")
        reconcile_payments()
        step("poll_payment")
        Sandbox.charge(sandbox, intent)
        raise ProviderUnavailable("no answer")

    path = ordered(worked_off=False)
    step("reserve")
    PaymentOperation.objects.update(
        created_at=timezone.now() - LATER, asked_at=timezone.now() - LATER
    )
    monkeypatch.setattr(Sandbox, "charge", charge)
    work_off(ahead=LATER)
    assert (seen(api, path)[:2], given_back()) == (("cancelled", "refunded"), 2410)


@pytest.mark.parametrize("token", ["tok_declined", "tok_ok"])
def test_a_charge_that_succeeds_after_it_was_given_up_is_refunded(
    api: Api, ordered: Ordered, token: str
) -> None:
    """Declined, and then confirmed from a browser; or void, and made by a worker that was frozen
    meanwhile.
    """
    path = ordered(token, worked_off=False)
    step("reserve")
    if token == "tok_declined":
        work_off(ahead=LATER)
        SandboxCharge.objects.update(status="succeeded", reason="")
    else:
        post(api, f"{path}/cancel")
        operation = PaymentOperation.objects.get()
        Sandbox().charge(operation._intent())
    assert PaymentOperation.objects.get().state in ("declined", "void")
    for _ in range(2):
        on_provider_event.delay(operation_of(path))
        work_off(ahead=LATER)
    assert (seen(api, path)[:2], given_back()) == (("cancelled", "refunded"), 2410)


# --- fulfilments ----------------------------------------------------------------------------------


def test_sending_everything_completes_the_order(api: Api, ordered: Ordered) -> None:
    path = ordered()
    answer = post(
        api, f"{path}/fulfilments", {"carrier": "Yamato", "tracking": "1234"}, key="ship-1"
    )
    again = post(
        api, f"{path}/fulfilments", {"carrier": "Yamato", "tracking": "1234"}, key="ship-1"
    )
    assert (answer.status_code, again.status_code, again["Idempotent-Replayed"]) == (
        201,
        201,
        "true",
    )
    assert answer.json() == again.json()
    assert (answer.json()["carrier"], answer.json()["lines"][0]) == (
        "Yamato",
        {"position": 0, "sku": "SAKE-NIGIRI", "quantity": 3},
    )
    assert seen(api, path) == ("completed", "paid", "full")
    assert on_hand() == {"SAKE-NIGIRI": (7, 0), "UNI-NIGIRI": (4, 0)}
    assert kinds() == ["received", "reserved", "confirmed", "fulfilled", "completed"]
    assert Event.objects.get(kind="order.fulfilled").data["fulfilment"] == answer.json()


def test_an_order_is_sent_line_by_line(api: Api, ordered: Ordered) -> None:
    path = ordered()
    post(api, f"{path}/fulfilments", {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 2}]})
    assert (seen(api, path), on_hand()["SAKE-NIGIRI"]) == (("confirmed", "paid", "partial"), (8, 1))
    too_many = post(api, f"{path}/fulfilments", {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 2}]})
    assert (too_many.status_code, too_many.json()["errors"]) == (
        422,
        [{"pointer": "/lines/0/quantity", "message": "1 of SAKE-NIGIRI can be sent"}],
    )
    post(api, f"{path}/fulfilments")
    assert (seen(api, path), on_hand()) == (
        ("completed", "paid", "full"),
        {"SAKE-NIGIRI": (7, 0), "UNI-NIGIRI": (4, 0)},
    )
    assert len(api.get(f"{path}/fulfilments").json()["data"]) == 2


@pytest.mark.parametrize("token", ["tok_declined", "tok_webhook_never"])
def test_only_a_confirmed_order_is_sent(api: Api, ordered: Ordered, token: str) -> None:
    path = ordered(token, worked_off=False)
    answer = post(api, f"{path}/fulfilments")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-fulfillable")
    assert not StockMovement.objects.filter(kind="shipped").exists()


# --- refunds --------------------------------------------------------------------------------------


def test_a_whole_refund_with_its_goods_ends_the_order(api: Api, ordered: Ordered) -> None:
    path = ordered()
    answer = post(api, f"{path}/refunds", {"reason": "spoilt", "restock": True})
    body = answer.json()
    assert (answer.status_code, body["state"], body["amount"], body["shipping"]) == (
        202,
        "pending",
        2410,
        510,
    )
    work_off()
    assert api.get(f"{path}/refunds").json()["data"][0]["state"] == "succeeded"
    assert (seen(api, path), given_back()) == (("cancelled", "refunded", "none"), 2410)
    assert on_hand() == {"SAKE-NIGIRI": (10, 0), "UNI-NIGIRI": (5, 0)}


def test_refunds_in_parts_add_up_to_the_whole_and_no_further(api: Api, ordered: Ordered) -> None:
    path = ordered()
    for body in (
        {"amount": 7},
        {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 1}]},
        {"amount": 1000},
        {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 2}]},
    ):
        answer = post(api, f"{path}/refunds", {**body, "reason": "sorry"})
        assert answer.status_code == 202, answer.json()
        work_off()
        assert seen(api, path)[1] == "partially_refunded"
    left = 2410 - given_back()
    too_much = post(api, f"{path}/refunds", {"amount": left + 1, "reason": "sorry"})
    assert (too_much.status_code, too_much.json()["errors"][0]) == (
        422,
        {"pointer": "/amount", "message": f"is more than what is left to refund, {left}"},
    )
    post(api, f"{path}/refunds", {"reason": "sorry"})
    work_off()
    assert (seen(api, path), given_back()) == (("confirmed", "refunded", "none"), 2410)
    nothing_left = post(api, f"{path}/refunds", {"reason": "sorry"})
    assert (nothing_left.status_code, nothing_left.json()["type"]) == (
        409,
        "/problems/nothing-to-refund",
    )


def test_units_of_a_line_come_to_its_amount_however_they_are_refunded(
    api: Api, ordered: Ordered
) -> None:
    path = ordered()
    amounts = []
    for _ in range(3):  # each 300, and 100 of tax on all
        answer = post(
            api,
            f"{path}/refunds",
            {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 1}], "reason": "cold"},
        )
        amounts.append(answer.json()["amount"])
    assert (amounts, sum(amounts)) == ([333, 333, 334], 1000)
    fourth = post(
        api, f"{path}/refunds", {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 1}], "reason": "cold"}
    )
    assert fourth.json()["errors"][0] == {
        "pointer": "/lines/0/quantity",
        "message": "0 of SAKE-NIGIRI can be refunded",
    }


def test_restocked_units_stay_if_they_are_here_and_come_back_if_they_were_sent(
    api: Api, ordered: Ordered
) -> None:
    path = ordered()
    post(api, f"{path}/fulfilments", {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 1}]})
    assert on_hand()["SAKE-NIGIRI"] == (9, 2)
    body = {
        "lines": [{"sku": "SAKE-NIGIRI", "quantity": 3}],
        "restock": True,
        "reason": "wrong dish",
    }
    assert post(api, f"{path}/refunds", body).status_code == 202
    assert on_hand() == {"SAKE-NIGIRI": (10, 0), "UNI-NIGIRI": (5, 1)}
    assert seen(api, path)[2] == "partial"
    post(api, f"{path}/fulfilments")
    work_off()
    assert (seen(api, path), on_hand()["UNI-NIGIRI"]) == (
        ("completed", "partially_refunded", "full"),
        (4, 0),
    )


def test_taking_back_all_that_was_to_be_sent_completes_what_was_sent(
    api: Api, ordered: Ordered
) -> None:
    path = ordered()
    post(api, f"{path}/fulfilments", {"lines": [{"sku": "SAKE-NIGIRI", "quantity": 3}]})
    body = {
        "lines": [{"sku": "UNI-NIGIRI", "quantity": 1}],
        "restock": True,
        "reason": "sold out after all",
    }
    post(api, f"{path}/refunds", body)
    assert (seen(api, path)[0], seen(api, path)[2]) == ("completed", "full")
    assert on_hand() == {"SAKE-NIGIRI": (7, 0), "UNI-NIGIRI": (5, 0)}


def test_a_refund_that_the_provider_refuses_is_taken_back_and_waits_for_a_person(
    api: Api, ordered: Ordered
) -> None:
    path = ordered()
    charge = SandboxCharge.objects.get()
    # somebody used the provider's own page
    SandboxRefund.objects.create(
        id="re_by_hand",
        key="by-hand",
        charge=charge,
        amount=2000,
        currency="JPY",
        status="succeeded",
    )
    post(api, f"{path}/refunds", {"amount": 1000, "reason": "sorry"})
    work_off()
    order = api.get(path).json()
    assert (order["held"], order["hold_reason"], order["refunded"], order["refund_pending"]) == (
        True,
        "refund_failed",
        0,
        0,
    )
    assert api.get(f"{path}/refunds").json()["data"][0]["state"] == "failed"
    assert sum(line["refunded"] for line in order["lines"]) == 0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"reason": "x", "amount": 0}, "/amount"),
        ({"reason": "x", "amount": -5}, "/amount"),
        ({"reason": "x", "amount": 10, "lines": [{"sku": "UNI-NIGIRI", "quantity": 1}]}, "/amount"),
        ({"reason": "x", "amount": 10, "restock": True}, "/restock"),
        ({"reason": "x", "lines": []}, "/lines"),
        ({"reason": "x", "lines": [{"sku": "UNI-NIGIRI", "quantity": 1}] * 2}, "/lines"),
        ({"reason": "x", "lines": [{"sku": "TORO", "quantity": 1}]}, "/lines/0/sku"),
        ({"reason": "x", "lines": [{"sku": "UNI-NIGIRI", "quantity": "1"}]}, "/lines/0/quantity"),
        ({"amount": 10}, "/reason"),
        ({"reason": "x", "restock": "yes"}, "/restock"),
        ({"reason": "x", "currency": "JPY"}, "/currency"),
    ],
)
def test_a_refund_that_cannot_be_is_named_and_nothing_is_written(
    api: Api, ordered: Ordered, body: Any, pointer: str
) -> None:
    path = ordered()
    answer = post(api, f"{path}/refunds", body)
    assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (
        422,
        [pointer],
    )
    assert (Order.objects.get().refund_pending, PaymentOperation.objects.count()) == (0, 1)


# --- on hold --------------------------------------------------------------------------------------


def test_a_held_order_is_neither_charged_nor_sent_and_goes_on_when_it_is_released(
    api: Api, ordered: Ordered
) -> None:
    path = ordered(worked_off=False)
    assert post(api, f"{path}/hold", {"reason": "looks odd"}).json()["hold_reason"] == "looks odd"
    work_off(ahead=LATER)
    assert (seen(api, path)[0], on_hand()["SAKE-NIGIRI"]) == ("received", (10, 0))
    assert post(api, f"{path}/release").json()["held"] is False
    step("reserve")
    post(api, f"{path}/hold")
    work_off(ahead=LATER)
    assert (seen(api, path)[0], SandboxCharge.objects.count()) == ("reserved", 0)
    post(api, f"{path}/release")
    work_off(ahead=LATER)
    assert (seen(api, path), SandboxCharge.objects.count()) == (("confirmed", "paid", "none"), 1)
    post(api, f"{path}/hold")
    assert post(api, f"{path}/fulfilments").json()["type"] == "/problems/not-fulfillable"
    post(api, f"{path}/release")
    assert post(api, f"{path}/fulfilments").status_code == 201
    held = post(api, f"{path}/hold")
    assert (held.status_code, held.json()["type"]) == (409, "/problems/order-has-ended")


def test_nobody_else_holds_an_order_in_the_machines_words(api: Api, ordered: Ordered) -> None:
    """It would release the order by itself, and people would look for what is not there."""
    path = ordered()
    for word in HeldFor.values:
        answer = post(api, f"{path}/hold", {"reason": word})
        message = "is what the machine itself says; use another word"
        wrong = {"pointer": "/reason", "message": message}
        assert (answer.status_code, answer.json()["errors"]) == (422, [wrong])
    assert api.get(path).json()["held"] is False


def test_an_order_of_which_nothing_remains_is_not_held_any_more(api: Api, ordered: Ordered) -> None:
    path = ordered()
    post(api, f"{path}/hold")
    post(api, f"{path}/refunds", {"reason": "sorry", "restock": True})
    work_off()
    order = api.get(path).json()
    assert (order["state"], order["payment_state"], order["held"], order["hold_reason"]) == (
        "cancelled",
        "refunded",
        False,
        None,
    )


@pytest.mark.parametrize(
    ("task", "reason"),
    [("orders.tasks.reserve", "reservation_failed"), ("orders.tasks.refund", "refund_unknown")],
)
def test_an_order_whose_step_an_operator_cancels_comes_on_hold_and_goes_on_from_there(
    api: Api, ordered: Ordered, task: str, reason: str
) -> None:
    path = ordered(worked_off=task == "orders.tasks.refund")
    if task == "orders.tasks.refund":
        post(api, f"{path}/refunds", {"reason": "sorry"})
    assert len(interventions.cancel(Job.objects.filter(task=task), by="hana")) == 1
    work_off()
    assert api.get(path).json()["hold_reason"] == reason
    post(api, f"{path}/release")
    work_off(ahead=LATER)
    assert seen(api, path)[:2] == (
        ("confirmed", "paid") if task == "orders.tasks.reserve" else ("confirmed", "refunded")
    )


# --- nothing changes without an event -------------------------------------------------------------


def read_again(api: Api, path: str, etag: str) -> tuple[int, str]:
    again = api.get(path, headers={"If-None-Match": etag})
    return again.status_code, again["ETag"]


def test_a_promised_refund_shows_to_whoever_knows_the_order_of_before(
    api: Api, ordered: Ordered
) -> None:
    path = ordered()
    assert read_again(api, path, '"3"') == (304, '"3"')
    post(api, f"{path}/refunds", {"amount": 50, "reason": "sorry"})
    assert read_again(api, path, '"3"') == (200, '"4"')
    units = {"lines": [{"sku": "UNI-NIGIRI", "quantity": 1}], "restock": True}
    post(api, f"{path}/refunds", {**units, "reason": "sorry"})
    assert read_again(api, path, '"4"') == (200, '"5"')
    work_off()
    assert read_again(api, path, '"5"') == (200, '"7"')
    assert kinds()[3:] == ["refund_pending", "refund_pending", "refunded", "refunded"]


def test_what_becomes_of_the_charge_of_a_cancelled_order_shows_too(
    api: Api, ordered: Ordered
) -> None:
    path = ordered(worked_off=False)
    step("reserve")
    # whoever sent it is gone
    PaymentOperation.objects.update(state="sent", created_at=timezone.now() - LATER)
    cancelled = post(api, f"{path}/cancel")["ETag"]
    assert (seen(api, path)[1], read_again(api, path, cancelled)) == ("pending", (304, cancelled))
    poll_payment.delay(operation_of(path))
    work_off()
    assert (seen(api, path)[1], read_again(api, path, cancelled)) == ("none", (200, '"4"'))
    assert kinds() == ["received", "reserved", "cancelled", "payment_failed"]


# --- expiry ---------------------------------------------------------------------------------------


def test_what_nobody_pays_for_is_given_back_after_its_time(api: Api, ordered: Ordered) -> None:
    paid, unpaid = ordered(), ordered("tok_webhook_never", worked_off=False)
    work_off()
    assert api.get(unpaid).json()["expires_at"] is not None
    assert api.get(paid).json()["expires_at"] is None
    assert expire_orders() == 0
    run_out()
    expire_orders()
    work_off()
    assert (seen(api, unpaid)[0], api.get(unpaid).json()["reason"]) == ("cancelled", "expired")
    assert (seen(api, paid)[0], on_hand()["SAKE-NIGIRI"]) == ("confirmed", (10, 3))
    work_off(ahead=LATER)  # the provider had charged it, and says so when it is asked
    assert (seen(api, unpaid)[1], given_back()) == ("refunded", 2410)


def run_out() -> None:
    Order.objects.filter(state="reserved").update(expires_at=timezone.now() - timedelta(seconds=1))


def test_an_order_that_is_paid_or_held_meanwhile_does_not_expire(
    api: Api, ordered: Ordered
) -> None:
    """Between the look of `expire_orders` and the turn of its job."""
    paid, held = (ordered("tok_webhook_never", worked_off=False) for _ in range(2))
    work_off()
    run_out()
    assert expire_orders() == 2
    post(api, f"{held}/hold")
    for job in Job.objects.filter(task="orders.tasks.poll_payment"):
        if job.args[0][0] != operation_of(paid):
            job.delete()
    step("poll_payment")
    step("expire")
    assert (seen(api, paid)[0], seen(api, held)[0]) == ("confirmed", "reserved")


def test_an_order_that_was_held_for_long_has_its_time_anew_when_it_is_released(
    api: Api, ordered: Ordered
) -> None:
    """It could not be paid for meanwhile."""
    path = ordered(worked_off=False)
    step("reserve")
    post(api, f"{path}/hold")
    run_out()
    released = post(api, f"{path}/release").json()
    assert datetime.fromisoformat(released["expires_at"]) > timezone.now() + timedelta(minutes=15)
    assert expire_orders() == 0
    work_off(ahead=timedelta(seconds=30))
    assert (seen(api, path), api.get(path).json()["expires_at"]) == (
        ("confirmed", "paid", "none"),
        None,
    )


def operation_of(path: str) -> str:
    return str(
        PaymentOperation.objects.get(kind="charge", order_id=path.removeprefix("/v1/orders/")).pk
    )


@pytest.mark.parametrize(
    ("verb", "status"), [("cancel", 202), ("hold", 200), ("release", 200), ("fulfilments", 201)]
)
def test_a_verb_whose_fields_have_defaults_needs_no_body(
    api: Api, ordered: Ordered, verb: str, status: int
) -> None:
    path = ordered()
    key = {"Idempotency-Key": "bare"} if verb == "fulfilments" else {}
    # neither a body nor a Content-Type, as curl -X POST sends it
    bare = api.generic("POST", f"{path}/{verb}", headers=key)
    assert (bare.status_code, bare.json().get("hold_reason")) == (
        status,
        "requested" if verb == "hold" else None,
    )
    operation = api.get("/v1/openapi.json").json()["paths"][f"/v1/orders/{{order_id}}/{verb}"][
        "post"
    ]
    assert not operation.get("requestBody", {}).get("required")
    field = {"release": None, "fulfilments": "carrier"}.get(verb, "reason")
    refused = post(api, f"{path}/{verb}", {field: 7}) if field else None
    assert refused is None or refused.json()["errors"][0]["pointer"] == f"/{field}"


# --- whose ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["cancel", "fulfilments", "refunds", "hold", "release"])
def test_each_verb_needs_its_scope_and_ones_own_order(
    ordered: Ordered, shop: Client, verb: str
) -> None:
    path = ordered()
    body = {"reason": "x"} if verb != "fulfilments" else {}
    weak = Api(ApiKey.objects.issue(shop, ["orders:read"]))
    assert post(weak, f"{path}/{verb}", body).json()["type"] == "/problems/missing-scope"
    stranger = Api(ApiKey.objects.issue(Client.objects.create(name="stranger"), []))
    for target in (path, f"/v1/orders/{uuid4()}"):
        assert post(stranger, f"{target}/{verb}", body).status_code == 404
    assert kinds() == ["received", "reserved", "confirmed"]


def test_stock_is_counted_up_and_down_with_a_reason(api: Api, ordered: Ordered) -> None:
    ordered()

    def patch(sku: str, **body: Any) -> Any:
        headers = {"Idempotency-Key": str(uuid4())}
        return api.patch(f"/v1/stock/{sku}", body, "application/json", headers=headers)

    assert patch("SAKE-NIGIRI", delta=-4, reason="dropped").json()["on_hand"] == 6
    assert (
        patch("SAKE-NIGIRI", delta=-4, reason="dropped").json()["errors"][0]["pointer"] == "/delta"
    )
    assert patch("SAKE-NIGIRI", delta=4).json()["errors"][0]["pointer"] == "/reason"
    assert patch("TORO", delta=1, reason="x").status_code == 404
    assert on_hand()["SAKE-NIGIRI"] == (6, 3)
    assert StockMovement.objects.get(kind="adjusted").reason == "dropped"


def test_an_event_about_a_refund_holds_the_order_for_the_refund_and_not_for_its_charge(
    api: Api, ordered: Ordered
) -> None:
    """When nobody can find out what became of it."""
    path = ordered()
    api.post(
        f"{path}/refunds",
        {"amount": 100, "reason": "cold"},
        "application/json",
        headers={"Idempotency-Key": "r"},
    )
    refund = PaymentOperation.objects.get(kind="refund")
    record_provider_event("sandbox", EventNotice(event_id="evt_1", operation=refund.pk))
    record_provider_event("sandbox", EventNotice(event_id="evt_1", operation=refund.pk))
    job = Job.objects.get(task="orders.tasks.on_provider_event")
    [errback] = job.envelope["errbacks"]
    assert errback["args"] == [str(refund.order_id), "refund_unknown"]
