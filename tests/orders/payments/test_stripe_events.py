"""Stripe rings at a real server: early, late, twice, out of order, or never, the rows end up the
same.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import stripe as sdk
from django.db import connection, transaction
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import attempt, work_off
from orders.models import Order, Refund
from orders.payments.models import PaymentOperation
from orders.payments.provider_event import ProviderEvent
from orders.tasks import give_back
from tests.doubles.stripe import WEBHOOK_SECRET, StripeDouble
from tests.doubles.stripe_book import objects_in
from tests.doubles.stripe_webhooks import signature
from tests.orders.payments.at_stripe import HALF_A_DAY, heard, work_off_and_listen
from tests.orders.payments.conftest import Pay
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
PAID = ("confirmed", "paid", 660, 3)
Ring = Callable[..., tuple[int, dict[str, Any]]]


def standing(order: Order) -> tuple[str, str, int, int]:
    order.refresh_from_db()
    return order.state, order.payment_state, order.captured, order.version


# --- when it rings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token", ["pm_card_visa", "pm_double_webhook_first", "pm_double_webhook_twice"]
)
def test_whenever_and_however_often_it_rings_the_order_is_paid_once(
    ringing: StripeDouble, pay: Pay, token: str
) -> None:
    order = pay(token)
    work_off_and_listen()
    assert standing(order) == PAID
    assert len(objects_in(ringing.path)) == 1
    operation = PaymentOperation.objects.get()
    assert (
        list(ProviderEvent.objects.values_list("provider", "key"))
        == [("stripe", operation.key)] * 3
    )
    assert Job.objects.filter(task="orders.tasks.on_provider_event", state="done").count() == 3


def test_an_event_that_comes_before_we_know_the_payment_is_enough(
    ringing: StripeDouble, pay: Pay
) -> None:
    """The answer was lost; the event names our operation, and the job it leaves finds the payment
    by that.
    """
    ringing.flaw("lose_answer")
    order = pay()
    for task in ("orders.tasks.reserve", "orders.tasks.charge"):
        attempt(Job.objects.get(task=task))
    until(heard(3), "the events are heard", within_s=10)
    assert (standing(order)[0], PaymentOperation.objects.get().reference) == ("reserved", "")
    for bell in Job.objects.filter(task="orders.tasks.on_provider_event"):
        attempt(bell)
    assert standing(order) == PAID
    work_off(ahead=HALF_A_DAY)
    assert standing(order) == PAID
    assert sum(request.method == "POST" for request in ringing.requests) == 1


def test_thin_events_are_bells_as_well(ringing: StripeDouble, pay: Pay) -> None:
    """Of v2: they name the payment, and show nothing of it."""
    ringing.ringer.is_thin = True
    order = pay("pm_double_processing")
    ringing.ringer.url, url = "", ringing.ringer.url
    work_off()
    ringing.decide(PaymentOperation.objects.get().reference, "succeeded")
    ringing.ringer.url = url
    polls = Job.objects.filter(task="orders.tasks.poll_payment", state="waiting")
    polls.update(due_at=timezone.now() + HALF_A_DAY)
    assert set(ringing.resend("payment_intent.succeeded")) == {200}
    for bell in Job.objects.filter(task="orders.tasks.on_provider_event", state="waiting"):
        attempt(bell)
    assert standing(order)[:3] == PAID[:3]
    assert ProviderEvent.objects.filter(key=PaymentOperation.objects.get().key).exists()


def test_a_thin_event_about_a_refund_finds_it(ringing: StripeDouble, pay: Pay) -> None:
    order = pay()
    work_off_and_listen()
    ringing.ringer.is_thin = True
    ringing.ringer.url, url = "", ringing.ringer.url  # nobody rings before we know its id
    with transaction.atomic():
        give_back(Refund.objects.promise(Order.objects.locked(order.pk), reason="cold"))
    work_off()
    ringing.ringer.url = url
    refund = PaymentOperation.objects.get(kind="refund")
    assert ringing.resend("refund.created") == [200]
    assert ProviderEvent.objects.filter(key=refund.key).exists()


def test_an_event_that_comes_late_or_again_changes_nothing(ringing: StripeDouble, pay: Pay) -> None:
    order = pay()
    work_off_and_listen()
    jobs = Job.objects.count()
    assert ringing.resend() == [200, 200, 200]
    assert (ProviderEvent.objects.count(), Job.objects.count()) == (3, jobs)
    assert standing(order) == PAID


def test_events_out_of_order_change_nothing(ringing: StripeDouble, pay: Pay) -> None:
    """The last word comes first, and the first one last."""
    order = pay("pm_double_processing", external_id="late")
    ringing.ringer.url, url = "", ringing.ringer.url
    work_off()
    ringing.decide(PaymentOperation.objects.get().reference, "succeeded")
    ringing.ringer.url = url
    for kind in ("payment_intent.succeeded", "payment_intent.processing", "payment_intent.created"):
        assert ringing.resend(kind) == [200]
        work_off()
        assert standing(order) == PAID


def test_without_any_event_the_decision_is_found_by_asking(ringing: StripeDouble, pay: Pay) -> None:
    order = pay("pm_double_webhook_never")
    work_off(ahead=HALF_A_DAY)
    assert (standing(order), ProviderEvent.objects.count()) == (PAID, 0)


def test_a_bell_asks_once_and_leaves_the_waiting_to_who_waits_already(
    ringing: StripeDouble, pay: Pay
) -> None:
    order = pay("pm_double_processing")
    work_off()
    until(heard(2), "both events are heard", within_s=10)
    work_off()
    bells = Job.objects.filter(task="orders.tasks.on_provider_event")
    assert list(bells.values_list("state", "attempts")) == [("done", 1)] * 2
    assert standing(order)[:2] == ("reserved", "pending")
    assert Job.objects.get(task="orders.tasks.poll_payment").state == "waiting"


def test_a_bell_levels_an_order_whose_charge_has_died(ringing: StripeDouble, pay: Pay) -> None:
    """The order is on hold; the provider's word releases it."""
    order = pay("pm_double_processing")
    work_off()
    until(heard(2), "both events are heard", within_s=10)
    first = Job.objects.first()
    assert first is not None
    Job.objects.exclude(state="done").update(state="dead", finished_at=first.created_at)
    ringing.decide(PaymentOperation.objects.get().reference, "succeeded")
    until(heard(4), "the decision is heard", within_s=10)
    work_off()
    assert standing(order)[:3] == PAID[:3]


# --- what it rings about --------------------------------------------------------------------------


@pytest.fixture
def ring(stripe_settings: Any, live_server: Any) -> Ring:
    def post(
        about: dict[str, Any] | bytes,
        header: str | None = None,
        *,
        path: str = "/v1/payments/stripe/events",
        **more: Any,
    ) -> tuple[int, dict[str, Any]]:
        payload = (
            about if isinstance(about, bytes) else json.dumps(event_of(about, **more)).encode()
        )
        where = urlsplit(live_server.url)
        wire = HTTPConnection(str(where.hostname), where.port, timeout=10)
        try:
            headers = {
                "Stripe-Signature": signature(payload, WEBHOOK_SECRET) if header is None else header
            }
            wire.request("POST", path, payload, headers)
            answer = wire.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            wire.close()

    return post


def event_of(about: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": f"evt_{uuid4().hex}",
        "type": "payment_intent.succeeded",
        "data": {"object": about},
        **more,
    }


UNKNOWN = "01890000-0000-7000-8000-000000000000"
FOREIGN = {"id": "pi_foreign", "object": "payment_intent", "metadata": {"operation": "17"}}


@pytest.mark.parametrize(
    ("about", "key"),
    [
        (FOREIGN, "pi_foreign"),
        (
            {"id": "pi_foreign", "object": "payment_intent", "metadata": {"operation": UNKNOWN}},
            "pi_foreign",
        ),
        ({"id": "ch_foreign", "object": "charge", "payment_intent": None, "metadata": None}, ""),
        ({"object": "balance"}, ""),
    ],
)
def test_what_concerns_no_operation_of_ours_is_noted_and_starts_nothing(
    ring: Ring, about: dict[str, Any], key: str
) -> None:
    assert ring(about) == (200, {"received": True})
    assert ProviderEvent.objects.get().key == key
    assert Job.objects.count() == 0


def test_an_event_that_names_only_the_payment_finds_our_operation(
    ringing: StripeDouble, pay: Pay
) -> None:
    """A dispute knows nothing of our metadata."""
    pay()
    work_off_and_listen()
    operation = PaymentOperation.objects.get()
    ringing.dispute(operation.reference)
    until(heard(4), "the dispute is heard", within_s=10)
    assert list(ProviderEvent.objects.values_list("key", flat=True)) == [operation.key] * 4


def test_an_event_that_rings_eight_times_at_once_is_heard_once(
    ring: Ring, stripe: StripeDouble, pay: Pay
) -> None:
    pay()
    work_off()
    payload = json.dumps(event_of(objects_in(stripe.path)[0])).encode()

    def post(_: int) -> int:
        try:
            return ring(payload)[0]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as hands:
        assert list(hands.map(post, range(8))) == [200] * 8
    assert (
        ProviderEvent.objects.count()
        == Job.objects.filter(task="orders.tasks.on_provider_event").count()
        == 1
    )


# --- who rings ------------------------------------------------------------------------------------


def signed(payload: bytes, *, secret: str = WEBHOOK_SECRET, moment: float | None = None) -> str:
    return signature(payload, secret, moment)


def signed_with_time(stamp: str) -> str:
    """By the right secret: whoever holds it may still err."""
    mac = hmac.new(
        WEBHOOK_SECRET.encode(), stamp.encode("latin-1") + b"." + PAYLOAD, hashlib.sha256
    )
    return f"t={stamp},v1={mac.hexdigest()}"


PAYLOAD = json.dumps({**event_of(FOREIGN), "id": "evt_1"}).encode()
FORGERIES: dict[str, Callable[[], str]] = {
    "no header": lambda: "",
    "nonsense": lambda: "=,=,,t=,v1",
    "no time": lambda: signed(PAYLOAD).split(",")[1],
    "a time that is none": lambda: f"t=²,{signed(PAYLOAD).split(',')[1]}".encode().decode(
        "latin-1"
    ),
    "a huge time": lambda: f"t={'9' * 5000},v1=00",
    "no signature": lambda: f"t={int(time.time())}",
    "of another scheme": lambda: signed(PAYLOAD).replace("v1", "v0"),
    "with another secret": lambda: signed(PAYLOAD, secret="whsec_other"),
    "of another body": lambda: signed(PAYLOAD + b" "),
    "with no letters of ours": lambda: f"t={int(time.time())},v1=\xfc",
    "ten minutes old": lambda: signed(PAYLOAD, moment=time.time() - 600),
    "of tomorrow": lambda: signed(PAYLOAD, moment=time.time() + 86400),
    "of another time": lambda: signed(PAYLOAD).replace("t=", "t=1"),
    "signed, and its time is a word": lambda: signed_with_time("abc"),
    "signed, and its time is empty": lambda: signed_with_time(""),
    "signed, and its time is a fraction": lambda: signed_with_time(f"{time.time():.1f}"),
    "signed, and its time is beyond all numbers": lambda: signed_with_time("9" * 5000),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_who_is_not_stripe_is_refused_and_nothing_is_noted(ring: Ring, forgery: str) -> None:
    status, problem = ring(PAYLOAD, FORGERIES[forgery]())
    assert (status, problem["type"], ProviderEvent.objects.count()) == (
        400,
        "/problems/bad-signature",
        0,
    )


def test_stripes_own_library_signs_as_we_read(ring: Ring) -> None:
    header = sdk.WebhookSignature.generate_signature_header(PAYLOAD.decode(), WEBHOOK_SECRET)
    assert ring(PAYLOAD, header)[0] == 200


def test_while_a_secret_is_rolled_one_signature_that_fits_is_enough(ring: Ring) -> None:
    stamp, fits = signed(PAYLOAD).split(",")
    other = hmac.new(b"whsec_old", PAYLOAD, hashlib.sha256).hexdigest()
    assert ring(PAYLOAD, f"{stamp},v1={other},v0=zz,{fits}")[0] == 200


WRONG: list[dict[str, Any]] = [
    {"id": "evt_\x00"},
    {"id": "evt_\ud800"},
    {"id": "e" * 3000},
    {"id": 17},
    {"id": None},
    {"type": ["a"]},
    {"data": {"object": FOREIGN | {"id": "pi_\x00"}}},
    {"data": {"object": FOREIGN | {"id": {"a": 1}}}},
    {"data": {"object": FOREIGN | {"id": "p" * 3000}}},
    {"data": {"object": "pi_1"}},
    {"data": []},
]
NO_EVENTS = [
    b"",
    b"[]",
    b"null",
    b"{}",
    b'{"id":"evt_1"}',
    b"\xff",
    b"[" * 100_000,
    b'{"id":1e999}',
    *(json.dumps(event_of(FOREIGN) | {"id": "evt_1"} | changes).encode() for changes in WRONG),
]


@pytest.mark.parametrize("payload", NO_EVENTS)
def test_what_is_signed_and_still_no_event_is_refused(ring: Ring, payload: bytes) -> None:
    """And not for its signature, which is good."""
    status, problem = ring(payload)
    assert (status, problem["type"], ProviderEvent.objects.count()) == (
        400,
        "/problems/no-event",
        0,
    )


@pytest.mark.parametrize(
    "about",
    [
        {"id": "pi_1", "type": "payment_intent", "url": "/v1/payment_intents/pi_1"},
        {"id": "ed_1", "type": "v2.core.event_destination", "url": "/v2/x"},
        None,
    ],
)
def test_a_thin_event_about_nothing_of_ours_is_heard_and_noted(ring: Ring, about: Any) -> None:
    thin = {
        "id": "evt_test_1",
        "object": "v2.core.event",
        "type": "v1.payment_intent.succeeded",
        "created": "2026-11-28T00:00:00.000Z",
        "livemode": False,
        "related_object": about,
    }
    for _ in range(2):
        assert ring(json.dumps(thin).encode()) == (200, {"received": True})
    assert ProviderEvent.objects.get().key == (about["id"] if about else "")
    assert Job.objects.count() == 0


@pytest.mark.parametrize(
    "change",
    [{"id": None}, {"type": 7}, {"related_object": "pi_1"}, {"related_object": {"id": "p" * 300}}],
)
def test_a_thin_event_that_names_nothing_readable_is_refused(ring: Ring, change: Any) -> None:
    thin = {"id": "evt_1", "object": "v2.core.event", "type": "v1.x", "related_object": {"id": "x"}}
    status, problem = ring(json.dumps(thin | change).encode())
    assert (status, problem["type"], ProviderEvent.objects.count()) == (
        400,
        "/problems/no-event",
        0,
    )


def test_an_event_that_is_too_large_is_refused(ring: Ring, settings: Any) -> None:
    assert ring(b" " * (settings.BODY_MAX_BYTES + 1))[0] == 413


@pytest.mark.parametrize("provider", ["sandbox", "braintree", "%2e%2e"])
def test_there_is_no_door_for_a_provider_that_does_not_ring(ring: Ring, provider: str) -> None:
    """The sandbox knocks in-process; a door without signatures would be a stranger's."""
    assert ring(PAYLOAD, path=f"/v1/payments/{provider}/events")[0] == 404


def test_without_a_secret_there_is_no_door(ring: Ring, stripe_settings: Any) -> None:
    stripe_settings.STRIPE_WEBHOOK_SECRET = ""
    assert ring(PAYLOAD, signed(PAYLOAD, secret=""))[0] == 404
