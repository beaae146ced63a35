"""The double against Stripe's own library: where it were kinder than Stripe, tests on it would
prove nothing.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import stripe as sdk

from tests.doubles.edges import WebhookSink
from tests.doubles.stripe import StripeDouble, tell
from tests.doubles.stripe_book import Book, Object, acts_in, objects_in
from tests.doubles.stripe_webhooks import Ringer
from tests.doubles.stripe_wire import SECRET_KEY
from tests.machine.ports import free_port
from tests.rooms import CHECKOUT
from tests.waiting import until

PAYMENT = {
    "amount": 660,
    "currency": "jpy",
    "payment_method": "pm_card_visa",
    "confirm": True,
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    "metadata": {"order": "1"},
}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return tmp_path / "book.jsonl"


@pytest.fixture
def double(book: Path) -> Iterator[StripeDouble]:
    with StripeDouble(book) as double:
        yield double


class Caller:
    """Stripe's library at a double, without retries."""

    def __init__(self, url: str) -> None:
        self.http: Any = sdk.RequestsClient(timeout=10)  # its close() has no types
        addresses: Any = {"api": url}
        client = sdk.StripeClient(
            SECRET_KEY, base_addresses=addresses, max_network_retries=0, http_client=self.http
        )
        self.v1 = client.v1

    def pay(self, key: str = "k", **changes: Any) -> Object:
        params: Any = {**PAYMENT, **changes}
        made = self.v1.payment_intents.create(params, {"idempotency_key": key})
        answer = made.last_response
        assert answer is not None
        return {**made.to_dict(), "replayed": answer.headers.get("Idempotent-Replayed")}

    def refund(self, payment: Object, key: str = "r", **more: Any) -> Object:
        params: Any = {"payment_intent": payment["id"], **more}
        return self.v1.refunds.create(params, {"idempotency_key": key}).to_dict()


@pytest.fixture
def caller(double: StripeDouble) -> Iterator[Caller]:
    caller = Caller(double.url)
    yield caller
    caller.http.close()


# --- keys -----------------------------------------------------------------------------------------


def test_a_key_replays_its_answer_and_says_so(double: StripeDouble, caller: Caller) -> None:
    first, second = caller.pay(), caller.pay()
    assert (first.pop("replayed"), second.pop("replayed")) == (None, "true")
    assert first == second
    assert len(objects_in(double.path)) == 1


def test_a_key_replays_declines_and_500s_too(double: StripeDouble, caller: Caller) -> None:
    for _ in range(2):
        with pytest.raises(sdk.CardError):
            caller.pay(payment_method="pm_card_chargeDeclined")
    double.flaw("500_before")
    for _ in range(2):
        with pytest.raises(sdk.APIError):
            caller.pay(key="other")
    assert len(objects_in(double.path)) == 1


def test_a_key_with_other_parameters_is_an_error(caller: Caller) -> None:
    caller.pay()
    with pytest.raises(sdk.IdempotencyError):
        caller.pay(amount=661)


@pytest.mark.parametrize("flaw", ["503", "429"])
def test_what_fails_before_it_begins_is_not_stored(
    double: StripeDouble, caller: Caller, flaw: str
) -> None:
    double.flaw(flaw)
    with pytest.raises(sdk.StripeError):
        caller.pay()
    assert caller.pay()["replayed"] is None


def test_what_is_not_valid_is_not_stored(caller: Caller) -> None:
    with pytest.raises(sdk.InvalidRequestError, match="No such PaymentMethod"):
        caller.pay(payment_method="pm_unheard_of")
    assert caller.pay()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"currency": "JPY"}, "currency"),
        ({"automatic_payment_methods": {"enabled": True}}, "return_url"),
        ({"sum": 660}, "sum"),
    ],
)
def test_parameters_that_stripe_would_not_take_are_refused(
    caller: Caller, changes: Object, param: str
) -> None:
    with pytest.raises(sdk.InvalidRequestError) as refused:
        caller.pay(**changes)
    assert refused.value.param == param


def test_a_wrong_secret_key_is_not_let_in(double: StripeDouble) -> None:
    http: Any = sdk.RequestsClient(timeout=10)
    addresses: Any = {"api": double.url}
    with pytest.raises(sdk.AuthenticationError):
        sdk.StripeClient(
            "sk_test_no", base_addresses=addresses, http_client=http
        ).v1.payment_intents.retrieve("pi_1")
    http.close()


# --- refunds, cancellations, disputes -------------------------------------------------------------


def test_a_refund_happens_once_per_key_and_never_beyond_the_charge(
    double: StripeDouble, caller: Caller
) -> None:
    paid = caller.pay()
    first = caller.refund(paid, amount=600)
    assert caller.refund(paid, amount=600) == first
    with pytest.raises(sdk.InvalidRequestError, match="greater than unrefunded amount on charge"):
        caller.refund(paid, "r2", amount=61)
    assert caller.refund(paid, "r3")["amount"] == 60
    with pytest.raises(sdk.InvalidRequestError) as refused:
        caller.refund(paid, "r4")
    assert refused.value.code == "charge_already_refunded"
    assert [made["amount"] for made in objects_in(double.path, "refund")] == [600, 60]
    [charge] = objects_in(double.path, "charge")
    assert (charge["amount_refunded"], charge["refunded"]) == (660, True)
    listed: Any = {"payment_intent": paid["id"]}
    assert [made.amount for made in caller.v1.refunds.list(listed).data] == [60, 600]
    assert caller.v1.refunds.retrieve(first["id"]).status == "succeeded"


@pytest.mark.parametrize(
    ("token", "status", "refunded"),
    [("pm_card_pendingRefund", "pending", 660), ("pm_card_refundFail", "failed", 0)],
)
def test_a_refund_may_wait_or_fail(
    double: StripeDouble, caller: Caller, token: str, status: str, refunded: int
) -> None:
    assert caller.refund(caller.pay(payment_method=token))["status"] == status
    assert objects_in(double.path, "charge")[0]["amount_refunded"] == refunded


def test_a_payment_that_has_not_succeeded_cannot_be_refunded(caller: Caller) -> None:
    with pytest.raises(sdk.InvalidRequestError) as refused:
        caller.refund(caller.pay(payment_method="pm_double_processing"))
    assert refused.value.code == "charge_not_refundable"


def test_an_open_payment_can_be_cancelled_and_a_paid_one_not(caller: Caller) -> None:
    waiting = caller.pay(payment_method="pm_card_threeDSecure2Required")
    assert caller.v1.payment_intents.cancel(waiting["id"]).status == "canceled"
    with pytest.raises(sdk.InvalidRequestError) as refused:
        caller.v1.payment_intents.cancel(caller.pay("other")["id"])
    assert refused.value.code == "payment_intent_unexpected_state"


# --- the wire and the book ------------------------------------------------------------------------


def test_it_rings_signed_until_it_is_heard_also_after_a_restart(book: Path) -> None:
    with WebhookSink() as sink:
        sink.answers = [500, 200, 200]
        url = sink.url
        with StripeDouble(book, webhook_url=url) as double:
            caller = Caller(double.url)
            caller.pay()
            until(
                lambda: len(sink.heard) == 4,
                "two events and one of them twice are heard",
                within_s=10,
            )
            until(lambda: not double.book.undelivered, "it knows what was heard", within_s=10)
            double.ringer.url = ""
            caller.pay("another")
            caller.http.close()
        assert len(double.book.undelivered) == 3
        with StripeDouble(book, webhook_url=url):
            until(lambda: len(sink.heard) == 7, "what was not heard is heard", within_s=10)
    headers, body = sink.heard[-1]
    assert sdk.WebhookSignature.verify_header(
        body, headers["stripe-signature"], "whsec_double", 300
    )


def test_it_rings_on_loopback_only(book: Path) -> None:
    with closing(Book(book)) as opened, pytest.raises(ValueError, match="loopback only"):
        Ringer(opened, "https://shop.example.com/hooks", "whsec_double")


def test_a_torn_last_line_of_the_book_is_skipped_and_the_book_goes_on(book: Path) -> None:
    book.write_bytes(
        b'{"objects":[{"id":"pi_1","object":"payment_intent"}]}\n{"objects":[{"id":"pi_2","obj'
    )
    with StripeDouble(book) as double:
        double.book.write(objects=[{"id": "pi_3", "object": "payment_intent"}])
    assert [made["id"] for made in objects_in(book)] == ["pi_1", "pi_3"]


def test_what_it_has_answered_survives_kill_9_with_its_key(book: Path) -> None:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "tests.doubles.stripe",
        "--port",
        str(port),
        "--book",
        str(book),
    ]
    made = []
    for _ in range(3):
        with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            process.stdout.readline()
            caller = Caller(f"http://127.0.0.1:{port}")
            made.append(caller.pay())
            # it has nobody to ring at
            assert tell(f"http://127.0.0.1:{port}", "resend") == [0, 0, 0]
            caller.http.close()
            os.kill(process.pid, signal.SIGKILL)
    assert [answer.pop("replayed") for answer in made] == [None, "true", "true"]
    assert made[0] == made[1] == made[2]
    [act] = acts_in(book)
    assert sorted(act) == ["answer", "events", "objects", "silent"], (
        "a kill could part an answer from what it did"
    )
