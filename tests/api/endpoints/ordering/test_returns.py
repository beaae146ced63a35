"""Goods come back: announced, received and paid back, line by line; and a fulfilment that was a
mistake.
"""

from typing import Any

import pytest
from django.db import IntegrityError
from django.db.models import F

from celery_ledger.testing import work_off
from notifications.models import Event
from orders.models import Order, OrderLine, Refund, Return, StockMovement
from tests.api.endpoints.ordering.goods import (
    FREE,
    TWO,
    Sold,
    held_back,
    names,
    refund,
    send,
    standing,
)
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
TWO_LINES = (
    {"sku": "A", "quantity": 2, "unit_price": 500},
    {"sku": "B", "quantity": 1, "unit_price": 300},
)


@pytest.fixture
def sent(api: Api, sold: Sold) -> str:
    """A completed order of two A and one B, with shipping. Its path."""
    path = sold(*TWO_LINES, shipping={"amount": 200, "tax": 20}, total=1520)
    assert post(api, f"{path}/fulfilments").status_code == 201
    return path


def announce(api: Api, path: str, *units: dict[str, Any]) -> Any:
    lines = {"lines": [{"quantity": 1, **unit} for unit in units]} if units else {}
    return post(api, f"{path}/returns", {"reason": "too small", **lines})


def announced(api: Api, path: str, *units: dict[str, Any]) -> str:
    """The path of a new return."""
    answer = announce(api, path, *units)
    assert answer.status_code == 201, answer.json()
    return f"{path}/returns/{answer.json()['id']}"


def receive(api: Api, come: str, **body: Any) -> Any:
    answer = post(api, f"{come}/receive", body)
    work_off()
    return answer


def of_line(api: Api, path: str, name: str) -> list[int]:
    return [line[name] for line in api.get(path).json()["lines"]]


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


def pointers(answer: Any) -> list[str]:
    assert answer.status_code == 422, answer.json()
    return [error["pointer"] for error in answer.json()["errors"]]


# --- announced ------------------------------------------------------------------------------------


def test_announcing_a_return_moves_no_goods_and_no_money(api: Api, sent: str) -> None:
    before = held_back("A")
    answer = announce(api, sent, {"sku": "A"}, {"position": 1})
    assert (answer.status_code, answer["Location"]) == (201, f"{sent}/returns")
    [listed] = api.get(f"{sent}/returns").json()["data"]
    assert listed == answer.json()
    assert (listed["state"], listed["reason"], listed["refund"]) == ("announced", "too small", None)
    assert listed["lines"] == [
        {"position": 0, "sku": "A", "quantity": 1, "received": 0, "restocked": 0},
        {"position": 1, "sku": "B", "quantity": 1, "received": 0, "restocked": 0},
    ]
    assert (of_line(api, sent, "announced"), of_line(api, sent, "returned")) == ([1, 1], [0, 0])
    assert (held_back("A"), standing(api, sent)) == (before, ("completed", "full", 0, 0))
    assert names(sent)[-1] == "return_announced"


def test_without_lines_all_that_the_customer_has_is_announced(api: Api, sent: str) -> None:
    announced(api, sent, {"sku": "A"})
    rest = announce(api, sent).json()["lines"]
    assert [(line["sku"], line["quantity"]) for line in rest] == [("A", 1), ("B", 1)]
    assert refusal(announce(api, sent)) == (409, "nothing-to-return")


def test_what_was_not_sent_or_is_announced_already_cannot_be_announced(
    api: Api, sold: Sold
) -> None:
    path = sold(*TWO_LINES, total=1300)
    assert refusal(announce(api, path, {"sku": "A"})) == (409, "nothing-to-return")
    send(api, path, {"sku": "A", "quantity": 2})
    announced(api, path, {"sku": "A"})
    for units, pointer in (
        ([{"sku": "A", "quantity": 2}], "/lines/0/quantity"),
        ([{"sku": "A"}, {"sku": "B"}], "/lines/1/quantity"),
        ([{"sku": "C"}], "/lines/0/sku"),
    ):
        assert pointers(announce(api, path, *units)) == [pointer]
    assert (Return.objects.count(), of_line(api, path, "announced")) == (1, [1, 0])


def test_the_same_key_announces_once(api: Api, sent: str) -> None:
    bodies = [
        post(api, f"{sent}/returns", {"reason": "x", "lines": [{"sku": "A", "quantity": 1}]}, "k")
        for _ in range(2)
    ]
    assert bodies[0].json() == bodies[1].json()
    assert bodies[1]["Idempotent-Replayed"] == "true"
    assert Return.objects.count() == 1


def test_an_order_has_so_many_returns_and_no_more(api: Api, sent: str, settings: Any) -> None:
    settings.RETURNS_PER_ORDER = 2
    for _ in range(2):
        assert api.post(f"{announced(api, sent)}/cancel").status_code == 200
    assert refusal(announce(api, sent)) == (409, "too-many-returns")


def test_another_clients_return_is_not_there(api: Api, sent: str, sold: Sold) -> None:
    come, other = announced(api, sent), sold(*TWO, total=1000)
    for verb in ("receive", "cancel"):
        path = f"{other}/returns/{come.rsplit('/', 1)[1]}/{verb}"
        assert refusal(post(api, path)) == (404, "not-found")
    assert Return.objects.get().state == "announced"


# --- received -------------------------------------------------------------------------------------


def test_all_of_a_return_arrives_is_sold_again_and_paid_back(api: Api, sent: str) -> None:
    come = announced(api, sent, {"sku": "A", "quantity": 2})
    answer = receive(api, come)
    assert answer.status_code == 200, answer.json()
    body = answer.json()
    assert (body["state"], body["refund"]["amount"]) == ("received", 1000)
    assert body["refund"]["reason"] == "too small"
    assert body["lines"][0]["received"] == body["lines"][0]["restocked"] == 2
    assert (of_line(api, sent, "announced"), of_line(api, sent, "returned")) == ([0, 0], [2, 0])
    assert (held_back("A"), standing(api, sent)) == ((10, 0), ("completed", "full", 1000, 0))
    assert names(sent)[-3:] == ["return_announced", "return_received", "refunded"]
    _, received, refunded = [event.data for event in Event.objects.order_by("pk")][-3:]
    assert received["return"] == body
    assert refunded["refund"] == {**body["refund"], "state": "succeeded"}
    assert api.get(f"{sent}/returns").json()["data"][0]["refund"]["state"] == "succeeded"


def test_a_part_arrives_broken_and_the_rest_never_does(api: Api, sent: str) -> None:
    come = announced(api, sent)
    units = [{"position": 0, "quantity": 1, "restock": False}]
    received = receive(api, come, lines=units).json()
    assert [(line["received"], line["restocked"]) for line in received["lines"]] == [(1, 0), (0, 0)]
    assert (received["refund"]["amount"], held_back("A"), held_back("B")) == (500, (8, 0), (9, 0))
    assert (of_line(api, sent, "announced"), of_line(api, sent, "returned")) == ([0, 0], [1, 0])
    again = announce(api, sent).json()["lines"]  # what did not arrive can be announced again
    assert [(line["sku"], line["quantity"]) for line in again] == [("A", 1), ("B", 1)]


@pytest.mark.parametrize(
    ("body", "back", "of_lines", "shipping"),
    [
        ({}, 800, [500, 300], 0),
        ({"shipping": 220}, 1020, [500, 300], 220),
        ({"shipping": 100}, 900, [500, 300], 100),
        ({"amount": 720}, 720, [450, 270], 0),
        ({"amount": 720, "shipping": 220}, 940, [450, 270], 220),
        ({"amount": 0, "shipping": 50}, 50, [0, 0], 50),
        ({"amount": 0}, 0, [0, 0], 0),
    ],
)
def test_the_money_of_a_return_is_by_line_by_amount_of_the_shipping_or_none(
    api: Api, sent: str, body: Any, back: int, of_lines: list[int], shipping: int
) -> None:
    come = announced(api, sent, {"sku": "A"}, {"sku": "B"})
    given = receive(api, come, **body).json()["refund"]
    assert (given["amount"], given["shipping"]) == (back, shipping) if back else given is None
    assert (of_line(api, sent, "refunded"), standing(api, sent)[2]) == (of_lines, back)
    assert (held_back("A")[0], held_back("B")[0]) == (9, 10)
    rest = receive(api, announced(api, sent)).json()["refund"]
    assert rest["amount"] == 500  # the other unit's money is untouched by what this one came to


def test_money_that_went_back_before_does_not_go_back_again(api: Api, sent: str) -> None:
    refund(api, sent, lines=[{"sku": "A", "quantity": 1}])
    first, second = (announced(api, sent, {"sku": "A"}) for _ in range(2))
    assert receive(api, first).json()["refund"]["amount"] == 500
    assert receive(api, second).json()["refund"] is None
    both = refund(api, sent, lines=[{"sku": "B", "quantity": 1}])
    assert both.status_code == 202
    come = announced(api, sent)
    assert receive(api, come).json()["refund"] is None
    assert (held_back("A"), standing(api, sent)[2]) == ((10, 0), 1300)


def test_of_units_of_which_one_was_paid_back_before_the_other_is(api: Api, sent: str) -> None:
    refund(api, sent, lines=[{"sku": "A", "quantity": 1}])
    come = announced(api, sent, {"sku": "A", "quantity": 2})
    assert receive(api, come).json()["refund"]["amount"] == 500
    assert (held_back("A"), standing(api, sent)[2]) == ((10, 0), 1000)


def test_goods_that_cost_nothing_come_back_without_a_refund(api: Api, sold: Sold) -> None:
    path = sold(*FREE, total=0)
    send(api, path, {"sku": "A", "quantity": 2})
    assert receive(api, announced(api, path)).json()["refund"] is None
    assert (held_back("A"), Refund.objects.count()) == ((10, 0), 0)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"lines": [{"sku": "A", "quantity": 2}]}, "/lines/0/quantity"),
        ({"lines": [{"sku": "B", "quantity": 1}]}, "/lines/0/quantity"),
        ({"lines": [{"sku": "C", "quantity": 1}]}, "/lines/0/sku"),
        ({"lines": []}, "/lines"),
        ({"lines": [{"sku": "A", "quantity": 1, "restock": "no"}]}, "/lines/0/restock"),
        ({"amount": 501}, "/amount"),
        ({"amount": -1}, "/amount"),
        ({"shipping": 221}, "/shipping"),
        ({"shipping": 0}, "/shipping"),
        ({"refund": 5}, "/refund"),
    ],
)
def test_what_cannot_have_arrived_is_refused_by_its_field(
    api: Api, sent: str, body: Any, pointer: str
) -> None:
    come = announced(api, sent, {"sku": "A"})
    assert pointers(receive(api, come, **body)) == [pointer]
    assert (Return.objects.get().state, of_line(api, sent, "announced")) == ("announced", [1, 0])
    assert (held_back("A"), Refund.objects.count()) == ((8, 0), 0)


def test_a_return_ends_once(api: Api, sent: str) -> None:
    come = announced(api, sent, {"sku": "A"})
    receive(api, come)
    for verb in ("receive", "cancel"):
        assert refusal(post(api, f"{come}/{verb}")) == (409, "return-has-ended")
    assert (held_back("A"), standing(api, sent)[2]) == ((9, 0), 500)


def test_the_same_key_receives_once(api: Api, sent: str) -> None:
    come = announced(api, sent)
    first, second = (post(api, f"{come}/receive", {}, "k") for _ in range(2))
    assert (second.json(), second["Idempotent-Replayed"]) == (first.json(), "true")
    work_off()
    assert (held_back("A"), standing(api, sent)[2]) == ((10, 0), 1300)


def test_a_cancelled_return_leaves_the_goods_with_the_customer(api: Api, sent: str) -> None:
    come = announced(api, sent, {"sku": "A", "quantity": 2})
    for _ in range(2):
        assert api.post(f"{come}/cancel").json()["state"] == "cancelled"
    assert (of_line(api, sent, "announced"), held_back("A")) == ([0, 0], (8, 0))
    assert names(sent).count("return_cancelled") == 1
    assert refusal(post(api, f"{come}/receive")) == (409, "return-has-ended")
    announced(api, sent, {"sku": "A", "quantity": 2})


def test_a_unit_that_is_announced_is_not_taken_back_beside_its_return(api: Api, sent: str) -> None:
    announced(api, sent, {"sku": "A", "quantity": 2})
    named = refund(api, sent, restock=True, lines=[{"sku": "A", "quantity": 1}])
    assert pointers(named) == ["/lines/0/quantity"]
    whole = refund(api, sent, restock=True).json()
    assert [part["restocked"] for part in whole["lines"]] == [0, 1]
    assert (held_back("A"), held_back("B")) == ((8, 0), (10, 0))


def test_postgres_itself_refuses_to_announce_more_than_was_sent(api: Api, sent: str) -> None:
    announced(api, sent)
    with pytest.raises(IntegrityError, match="line_units_announced"):
        OrderLine.objects.update(announced=F("announced") + 1)
    with pytest.raises(IntegrityError, match="line_units_announced"):
        OrderLine.objects.filter(position=0).update(fulfilled=1)


# --- the shipping alone ---------------------------------------------------------------------------


def test_the_shipping_alone_goes_back_once(api: Api, sent: str) -> None:
    first = refund(api, sent, shipping=20).json()
    assert (first["amount"], first["shipping"], first["lines"]) == (20, 20, [])
    assert pointers(refund(api, sent, shipping=201)) == ["/shipping"]
    with_line = refund(api, sent, shipping=200, lines=[{"sku": "B", "quantity": 1}]).json()
    assert (with_line["amount"], with_line["shipping"]) == (500, 200)
    assert pointers(refund(api, sent, shipping=1)) == ["/shipping"]
    assert (of_line(api, sent, "refunded"), standing(api, sent)[2]) == ([0, 300], 520)
    assert held_back("A") == (8, 0)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"shipping": 20, "amount": 20}, "/shipping"),
        ({"shipping": 20, "restock": True}, "/restock"),
        ({"shipping": 0}, "/shipping"),
        ({"shipping": True}, "/shipping"),
    ],
)
def test_the_shipping_goes_back_alone_or_with_lines(
    api: Api, sent: str, body: Any, pointer: str
) -> None:
    assert pointers(refund(api, sent, **body)) == [pointer]


# --- a fulfilment that was booked by mistake ------------------------------------------------------


def booked(api: Api, path: str) -> str:
    return f"{path}/fulfilments/{api.get(f'{path}/fulfilments').json()['data'][-1]['id']}"


def test_a_fulfilment_that_was_a_mistake_is_to_be_sent_again(api: Api, sent: str) -> None:
    assert held_back("A") == (8, 0)
    answer = api.post(f"{booked(api, sent)}/cancel")
    assert (answer.status_code, answer.json()["cancelled_at"] is None) == (200, False)
    assert (held_back("A"), standing(api, sent)) == ((10, 2), ("confirmed", "none", 0, 0))
    assert names(sent) == ["fulfilled", "completed", "fulfilment_cancelled"]
    assert api.post(f"{booked(api, sent)}/cancel").json() == answer.json()
    assert StockMovement.objects.filter(kind="unshipped").count() == 2
    send(api, sent, {"sku": "A", "quantity": 2}, {"sku": "B"})
    assert (held_back("A"), standing(api, sent)) == ((8, 0), ("completed", "full", 0, 0))


def test_one_that_cash_was_collected_with_stays(api: Api, sold: Sold) -> None:
    path = sold(*TWO_LINES, total=1300, payment={"method": "cod"})
    send(api, path, {"sku": "A", "quantity": 2}, {"sku": "B"})
    answer = api.post(f"{booked(api, path)}/cancel")
    problem = "/problems/fulfilment-not-cancellable"
    assert (answer.status_code, answer.json()["type"]) == (409, problem)
    assert standing(api, path)[:2] == ("completed", "full")


def test_one_of_two_fulfilments_is_taken_back(api: Api, sold: Sold) -> None:
    path = sold(*TWO_LINES, total=1300)
    send(api, path, {"sku": "A"})
    send(api, path, {"sku": "A"})
    assert api.post(f"{booked(api, path)}/cancel").status_code == 200
    assert (of_line(api, path, "fulfilled"), standing(api, path)[:2]) == (
        [1, 0],
        ("confirmed", "partial"),
    )
    [kept, gone] = api.get(f"{path}/fulfilments").json()["data"]
    assert (kept["cancelled_at"], bool(gone["cancelled_at"])) == (None, True)


def test_an_order_whose_rest_was_cancelled_keeps_its_reason_when_it_is_sent_again(
    api: Api, sold: Sold
) -> None:
    path = sold(*TWO, total=1000)
    send(api, path, {"sku": "A"})
    post(api, f"{path}/cancel", {"reason": "sold the last one"})
    work_off()
    assert api.post(f"{booked(api, path)}/cancel").status_code == 200
    assert (held_back("A"), standing(api, path)) == ((10, 1), ("confirmed", "none", 500, 0))
    send(api, path, {"sku": "A"})
    order = api.get(path).json()
    assert (order["state"], order["reason"]) == ("completed", "sold the last one")


@pytest.mark.parametrize("what", ["announced", "came back", "paid back"])
def test_a_fulfilment_of_which_something_has_come_back_stays(
    api: Api, sent: str, what: str
) -> None:
    unit = [{"sku": "A", "quantity": 1}]
    if what == "announced":
        announced(api, sent, {"sku": "A"})
    else:
        refund(api, sent, lines=unit, restock=what == "came back")
    before = (held_back("A"), standing(api, sent))
    answer = api.post(f"{booked(api, sent)}/cancel")
    assert refusal(answer) == (409, "fulfilment-not-cancellable")
    assert (held_back("A"), standing(api, sent)) == before
    assert Order.objects.get().fulfilments.get().cancelled_at is None
