"""How an order is paid, over HTTP: what its customer has to do, another card, money from
elsewhere.
"""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client as HttpClient

from celery_ledger.testing import work_off
from notifications.models import Event
from orders.models import ApiKey, Client, Order, Stock
from orders.payments.sandbox_book import SandboxCharge
from tests.orders.books import books_balance
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
Placed = Callable[..., str]
PATIENT = {"Prefer": "wait=10"}


@pytest.fixture
def placed(api: Api, stock: Any, order_body: Callable[..., Any]) -> Placed:
    """The path of an order of 660 yen, worked off unless told."""
    stock()

    def place(*, worked_off: bool = True, **payment: Any) -> str:
        body = order_body(external_id=str(uuid4()), payment=payment)
        answer = api.place(body, key=str(uuid4()))
        assert answer.status_code == 202, answer.content
        if worked_off:
            work_off()
        return str(answer["Location"])

    return place


def seen(api: Api, path: str) -> tuple[str, str, int]:
    order = api.get(path).json()
    return order["state"], order["payment_state"], order["captured"]


def problem(answer: Any) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["type"].removeprefix("/problems/"), body["detail"]


# --- what only the customer can do ----------------------------------------------------------------


def test_a_card_that_its_holder_confirms_is_finished_on_the_banks_page(
    api: Api, placed: Placed, settings: Any
) -> None:
    path = placed(token="tok_confirm")
    assert seen(api, path) == ("reserved", "action_required", 0)
    answer = api.get(f"{path}/payment")
    assert answer["Cache-Control"] == "no-store"
    action = answer.json()["action"]
    assert (action["type"], action["client_secret"]) == ("redirect_to_url", None)
    customer, page = HttpClient(), action["url"].removeprefix(settings.SITE_URL)
    assert "¥660" in customer.get(page).content.decode()
    assert seen(api, path)[1] == "action_required"  # who only looks has said nothing
    back = customer.post(page, {"word": "yes"})
    assert (back.status_code, back["Location"]) == (
        303,
        api.get(path).json()["links"]["status_page"],
    )
    customer.post(page, {"word": "no"})  # the first word counts
    work_off()
    assert seen(api, path) == ("confirmed", "paid", 660)
    paid = api.get(f"{path}/payment").json()
    assert (paid["action"], [one["state"] for one in paid["attempts"]]) == (None, ["succeeded"])


def test_a_customer_who_says_no_has_not_paid(api: Api, placed: Placed, settings: Any) -> None:
    path = placed(token="tok_confirm")
    page = api.get(f"{path}/payment").json()["action"]["url"].removeprefix(settings.SITE_URL)
    HttpClient().post(page, {"word": "no"})
    work_off()
    assert seen(api, path) == ("cancelled", "failed", 0)
    assert [one["reason"] for one in api.get(f"{path}/payment").json()["attempts"]] == [
        "not_confirmed"
    ]


def test_the_banks_page_is_the_sandboxs_alone(placed: Placed, settings: Any) -> None:
    placed(token="tok_confirm")
    page = f"/bank/{SandboxCharge.objects.get().pk}/"
    assert HttpClient().get(page).status_code == 200
    assert HttpClient().get("/bank/ch_nothing/").status_code == 404
    settings.PAYMENT_PROVIDER = "stripe"
    assert HttpClient().post(page, {"word": "yes"}).status_code == 404
    assert SandboxCharge.objects.get().waits


def test_the_order_itself_its_events_and_webhooks_do_not_show_what_to_do(
    api: Api, placed: Placed
) -> None:
    path = placed(token="tok_confirm")
    page = SandboxCharge.objects.get().pk
    events = list(Event.objects.values_list("data", flat=True))
    assert len(events) == 3
    assert page not in repr([api.get(path).json(), api.get(f"{path}/events").json(), *events])


def test_a_key_that_only_reads_does_not_see_what_pays(
    api: Api, shop: Client, placed: Placed
) -> None:
    reader = Api(ApiKey.objects.issue(shop, ["orders:read"]))
    assert reader.get(f"{placed(token='tok_confirm')}/payment").status_code == 403


# --- waiting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payment", "state"),
    [
        ({"token": "tok_confirm"}, "action_required"),
        ({"token": "tok_declined", "attempts": 2}, "failed"),
        ({"method": "bank_transfer"}, "pending"),
        ({"method": "cod"}, "pending"),
    ],
)
def test_whoever_waits_hears_at_once_that_the_customer_is_next(
    api: Api, placed: Placed, order_body: Callable[..., Any], payment: Any, state: str
) -> None:
    """PREFER_WAIT_MAX_S would be over otherwise, and the answer a 202."""
    body = order_body(payment=payment)
    api.place(body, key="k")
    placed(token="tok_ok")  # works off
    headers = {"Idempotency-Key": "k", **PATIENT}
    answer = api.post("/v1/orders", body, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["payment_state"]) == (200, state)
    read = api.get(answer["Location"], headers=PATIENT)
    assert (read.status_code, read["Preference-Applied"]) == (200, "wait=10")


def test_whoever_reads_may_wait_for_the_next_version(
    api: Api, placed: Placed, settings: Any
) -> None:
    path = placed(token="tok_confirm")
    as_it_was = {"If-None-Match": api.get(path)["ETag"], "Prefer": "wait=1"}
    settings.PREFER_POLL_S = 2
    unchanged = api.get(path, headers=as_it_was)
    assert (unchanged.status_code, unchanged["Preference-Applied"]) == (304, "wait=1")
    post(api, f"{path}/cancel")
    assert api.get(path, headers=as_it_was).json()["state"] == "cancelled"


# --- another card ---------------------------------------------------------------------------------


def test_a_declined_order_is_paid_with_another_card(api: Api, placed: Placed) -> None:
    path = placed(token="tok_declined", attempts=3)
    assert seen(api, path) == ("reserved", "failed", 0)
    assert api.get(f"{path}/payment").json()["attempts_left"] == 2
    accepted = post(api, f"{path}/payments", {"token": "tok_ok"}, key="second")
    assert (accepted.status_code, accepted["Location"]) == (202, path)
    assert accepted.json()["payment_state"] == "pending"
    work_off()
    again = post(api, f"{path}/payments", {"token": "tok_ok"}, key="second")
    assert (again.status_code, again["Idempotent-Replayed"]) == (202, "true")
    assert seen(api, path) == ("confirmed", "paid", 660)
    paid = api.get(f"{path}/payment").json()
    assert [(one["state"], one["reason"]) for one in paid["attempts"]] == [
        ("failed", "card_declined"),
        ("succeeded", None),
    ]
    assert (paid["attempts_left"], SandboxCharge.objects.count()) == (0, 2)
    assert problem(post(api, f"{path}/payments", {"token": "tok_ok"}))[:2] == (409, "not-payable")
    assert books_balance()


def test_without_further_attempts_a_declined_order_ends_as_ever(api: Api, placed: Placed) -> None:
    path = placed(token="tok_declined")
    assert seen(api, path) == ("cancelled", "failed", 0)
    number = api.get(path).json()["number"]
    refused = post(api, f"{path}/payments", {"token": "tok_ok"})
    assert problem(refused) == (409, "not-payable", f"Order {number} is cancelled.")


def test_a_held_order_is_not_charged_anew(api: Api, placed: Placed) -> None:
    path = placed(token="tok_declined", attempts=2)
    post(api, f"{path}/hold")
    assert problem(post(api, f"{path}/payments", {"token": "tok_ok"}))[2].endswith("is held.")
    post(api, f"{path}/release")
    assert post(api, f"{path}/payments", {"token": "tok_ok"}).status_code == 202


def test_a_card_that_was_chosen_while_nobody_worked_is_charged_after_the_release(
    api: Api, placed: Placed
) -> None:
    path = placed(token="tok_declined", attempts=2)
    post(api, f"{path}/payments", {"token": "tok_ok"})
    post(api, f"{path}/hold")
    work_off()
    assert SandboxCharge.objects.count() == 1
    post(api, f"{path}/release")
    work_off()
    assert seen(api, path) == ("confirmed", "paid", 660)


# --- elsewhere ------------------------------------------------------------------------------------


def test_a_transfer_is_noted_with_its_reference_and_refunded_by_the_shop(
    api: Api, placed: Placed
) -> None:
    path = placed(method="bank_transfer")
    order = api.get(path).json()
    assert (order["payment_method"], order["state"]) == ("bank_transfer", "reserved")
    body = {"reference": "2026-11-30 YAMADA", "amount": 660}
    paid = post(api, f"{path}/mark-paid", body, key="p")
    assert (paid.status_code, paid.json()["state"]) == (200, "confirmed")
    again = post(api, f"{path}/mark-paid", body, key="p")
    assert (again.content, again["Idempotent-Replayed"]) == (paid.content, "true")
    [attempt] = api.get(f"{path}/payment").json()["attempts"]
    assert (attempt["provider"], attempt["reference"]) == ("elsewhere", "2026-11-30 YAMADA")
    assert post(api, f"{path}/refunds", {"reason": "cold"}).status_code == 202
    work_off()
    assert seen(api, path) == ("confirmed", "refunded", 660)
    assert [one["state"] for one in api.get(f"{path}/refunds").json()["data"]] == ["succeeded"]
    assert (SandboxCharge.objects.count(), books_balance()) == (0, True)


def test_cash_on_delivery_is_paid_with_the_parcel(api: Api, placed: Placed) -> None:
    path = placed(method="cod")
    assert seen(api, path) == ("confirmed", "pending", 0)
    assert post(api, f"{path}/fulfilments").status_code == 201
    assert seen(api, path) == ("completed", "paid", 660)
    kinds = [event["type"] for event in api.get(f"{path}/events").json()["data"]]
    assert kinds[2:] == ["order.confirmed", "order.paid", "order.fulfilled", "order.completed"]


def test_cash_on_delivery_may_come_before_the_parcel(api: Api, placed: Placed) -> None:
    path = placed(method="cod")
    assert post(api, f"{path}/mark-paid").json()["payment_state"] == "paid"
    post(api, f"{path}/fulfilments")
    assert seen(api, path) == ("completed", "paid", 660)


def test_what_costs_nothing_needs_no_payment(
    api: Api, stock: Any, order_body: Callable[..., Any]
) -> None:
    stock()
    free = [{"sku": "SAKE-NIGIRI", "quantity": 1, "unit_price": 0}]
    path = api.place(order_body(lines=free, total=0, payment=...))["Location"]
    work_off()
    assert seen(api, path) == ("confirmed", "none", 0)
    assert post(api, f"{path}/mark-paid").status_code == 409
    assert post(api, f"{path}/fulfilments").status_code == 201
    assert seen(api, path) == ("completed", "none", 0)


@pytest.mark.parametrize(
    ("payment", "pointer", "message"),
    [
        (..., "/payment", "is missing"),
        (None, "/payment", "must be an object with named fields"),
        ({}, "/payment/token", "is missing"),
        ({"method": "card"}, "/payment/token", "is missing"),
        ({"method": "cod", "token": "tok_ok"}, "/payment/token", "goes with the method card only"),
        ({"method": "cod", "attempts": 2}, "/payment/attempts", "goes with the method card only"),
        ({"token": "tok_ok", "attempts": 0}, "/payment/attempts", "must be 1 or more"),
        ({"token": "tok_ok", "attempts": 11}, "/payment/attempts", "must be 10 or less"),
        (
            {"method": "barter"},
            "/payment/method",
            "must be 'card', 'manual', 'cod' or 'bank_transfer'",
        ),
    ],
)
def test_a_payment_that_cannot_be_is_refused_by_name(
    api: Api, stock: Any, order_body: Callable[..., Any], payment: Any, pointer: str, message: str
) -> None:
    stock()
    answer = api.place(order_body(payment=payment))
    assert answer.status_code == 422
    assert [(error["pointer"], error["message"]) for error in answer.json()["errors"]] == [
        (pointer, message)
    ]
    assert (Order.objects.count(), Stock.objects.get().reserved) == (0, 0)


@pytest.mark.parametrize(
    ("verb", "body", "pointer"),
    [
        ("payments", {}, "/token"),
        ("payments", {"token": "a b"}, "/token"),
        ("payments", {"token": "tok_ok", "attempts": 2}, "/attempts"),
        ("mark-paid", {"amount": 600}, "/amount"),
        ("mark-paid", {"amount": "660"}, "/amount"),
        ("mark-paid", {"reference": "x" * 201}, "/reference"),
        ("mark-paid", {"paid": True}, "/paid"),
    ],
)
def test_a_body_that_cannot_be_is_refused_by_name(
    api: Api, placed: Placed, verb: str, body: Any, pointer: str
) -> None:
    path = placed(method="manual")
    before = api.get(path).content
    answer = post(api, f"{path}/{verb}", body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert api.get(path).content == before
