"""Goods of an order, line by line, with their money and without it; and every order can end."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError
from django.db.models import F

from celery_ledger.testing import work_off
from orders.models import Order, OrderLine, Refund
from orders.payments.models import PaymentOperation
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


# --- goods whose money is gone, or that never cost any --------------------------------------------

WITH_GIFT = ({"sku": "A", "unit_price": 500}, {"sku": "GIFT", "unit_price": 0})
UNSENT = [  # an order, what is sent of it, and what is paid back before its rest is given up
    (TWO, 1000, {"sku": "A"}, [{}], "A"),
    (TWO, 1000, {"sku": "A"}, [{"lines": [{"sku": "A", "quantity": 2}]}], "A"),
    (TWO, 1000, {"sku": "A"}, [{"amount": 1000}], "A"),
    (WITH_GIFT, 500, {"sku": "A"}, [], "GIFT"),
    (WITH_GIFT, 500, {"sku": "A"}, [{}], "GIFT"),
    (FREE, 0, {"sku": "A"}, [], "A"),
]


@pytest.mark.parametrize("verb", ["cancel", "refunds"])
@pytest.mark.parametrize(("lines", "total", "sent", "refunds", "left"), UNSENT)
def test_what_is_not_sent_goes_back_and_the_order_ends_whatever_its_money(
    api: Api,
    sold: Sold,
    lines: Any,
    total: int,
    sent: Any,
    refunds: list[Any],
    left: str,
    verb: str,
) -> None:
    path = sold(*lines, total=total)
    send(api, path, sent)
    for asked in refunds:
        assert refund(api, path, **asked).status_code == 202
    assert held_back(left)[1] == 1
    given = api.get(path).json()["refunded"]
    body = {} if verb == "cancel" else {"restock": True, "lines": [{"sku": left, "quantity": 1}]}
    answer = post(api, f"{path}/{verb}", {"reason": "gave up", **body})
    assert answer.status_code == 202, answer.json()
    assert standing(api, path) == ("completed", "full", given, 0)
    assert held_back(left)[1] == 0
    moved = api.get(f"{path}/refunds").json()["data"][-1]
    assert (moved["amount"], moved["state"], moved["restock"]) == (0, "succeeded", True)
    assert [part["restocked"] for part in moved["lines"]] == [1]
    assert PaymentOperation.objects.filter(amount=0).count() == 0
    assert names(path)[-1] == "completed"
    assert names(path).count("restocked") == (verb == "refunds")


def test_all_that_is_left_with_its_goods_is_the_unsent_when_no_money_is(
    api: Api, sold: Sold
) -> None:
    """What was sent and paid back stays with the customer, unless it is named."""
    path = sold(*TWO, total=1000)
    send(api, path, {"sku": "A"})
    refund(api, path)
    assert refund(api, path, restock=True).json()["lines"][0]["restocked"] == 1
    assert (held_back("A"), standing(api, path)[0]) == ((9, 0), "completed")
    nothing = refund(api, path, restock=True)
    assert (nothing.status_code, nothing.json()["type"]) == (409, "/problems/nothing-to-refund")
    assert "name the lines of which goods come back" in nothing.json()["detail"]
    named = refund(api, path, restock=True, lines=[{"sku": "A", "quantity": 1}])
    assert (named.status_code, named.json()["amount"], held_back("A")) == (202, 0, (10, 0))


def test_an_order_that_costs_nothing_can_be_taken_back_whole(api: Api, sold: Sold) -> None:
    path = sold(*FREE, total=0)
    assert refund(api, path, restock=True).status_code == 202
    assert standing(api, path)[:2] == ("cancelled", "none")
    assert held_back("A") == (10, 0)


def test_goods_come_back_without_their_money_and_their_money_later(api: Api, sold: Sold) -> None:
    """Parcels are opened before they are paid for."""
    path = sold(*TWO, total=1000)
    send(api, path, {"sku": "A", "quantity": 2})
    back = refund(api, path, lines=[{"sku": "A", "quantity": 2}], restock=True, amount=0)
    assert back.json()["lines"] == [
        {"position": 0, "sku": "A", "quantity": 0, "restocked": 2, "amount": 0}
    ]
    line = api.get(path).json()["lines"][0]
    assert (line["returned"], line["units_refunded"], line["refunded"]) == (2, 0, 0)
    assert (held_back("A"), standing(api, path)) == ((10, 0), ("completed", "full", 0, 0))
    again = refund(api, path, lines=[{"sku": "A", "quantity": 1}], restock=True)
    assert again.json()["errors"] == [
        {"pointer": "/lines/0/quantity", "message": "0 of A can be taken back"}
    ]
    assert refund(api, path, lines=[{"sku": "A", "quantity": 1}]).json()["amount"] == 500
    assert standing(api, path)[2] == 500


def test_goods_that_come_back_after_their_money_bring_none(api: Api, sold: Sold) -> None:
    path = sold(*TWO, total=1000)
    send(api, path, {"sku": "A", "quantity": 2})
    refund(api, path, lines=[{"sku": "A", "quantity": 2}])
    back = refund(api, path, lines=[{"sku": "A", "quantity": 2}], restock=True)
    assert (back.json()["amount"], held_back("A"), standing(api, path)[2]) == (0, (10, 0), 1000)


def test_a_unit_is_withdrawn_without_its_money_and_the_others_are_sent(
    api: Api, sold: Sold
) -> None:
    path = sold(*TWO, total=1000)
    refund(api, path, lines=[{"sku": "A", "quantity": 1}], restock=True, amount=0)
    assert (held_back("A"), standing(api, path)) == ((10, 1), ("confirmed", "none", 0, 0))
    assert post(api, f"{path}/fulfilments").json()["lines"][0]["quantity"] == 1
    assert (held_back("A"), standing(api, path)) == ((9, 0), ("completed", "full", 0, 0))
    assert names(path) == ["restocked", "fulfilled", "completed"]


def test_cancelling_the_rest_pays_what_was_not_paid_back_before(api: Api, sold: Sold) -> None:
    """Money that went back without its goods was for what the customer has, as far as there is."""
    path = sold({"sku": "A", "quantity": 4, "unit_price": 500}, total=2000)
    send(api, path, {"sku": "A"})
    refund(api, path, lines=[{"sku": "A", "quantity": 2}])
    assert post(api, f"{path}/cancel").json()["refund_pending"] == 1000
    work_off()
    assert (held_back("A"), standing(api, path)[2]) == ((9, 0), 2000)


@pytest.mark.parametrize("state", ["received", "reserved", "cancelled"])
def test_goods_that_nobody_has_bought_cannot_come_back(
    api: Api, sold: Sold, order_body: Callable[..., Any], state: str
) -> None:
    body = order_body(lines=[{"quantity": 1, **TWO[0]}], total=1000)
    path = api.place(body).json()["links"]["self"]
    order = Order.objects.get()
    if state == "reserved":
        order.reserve()
    if state == "cancelled":
        order.cancel("requested")
    before = held_back("A")
    for asked in ({}, {"lines": [{"sku": "A", "quantity": 1}]}):
        answer = post(api, f"{path}/refunds", {"reason": "x", "restock": True, **asked})
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/nothing-to-refund")
    assert (held_back("A"), Refund.objects.count()) == (before, 0)


@pytest.mark.parametrize(
    "asked",
    [
        {"amount": 0},
        {"amount": 0, "restock": True},
        {"amount": 0, "lines": [{"sku": "A", "quantity": 1}]},
        {"amount": 5, "lines": [{"sku": "A", "quantity": 1}], "restock": True},
    ],
)
def test_no_money_goes_with_goods_only(api: Api, sold: Sold, asked: Any) -> None:
    answer = refund(api, sold(*TWO, total=1000), **asked)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/amount"]


def test_postgres_itself_refuses_a_refund_that_moves_nothing(api: Api, sold: Sold) -> None:
    refund(api, sold(*TWO, total=1000), amount=5)
    with pytest.raises(IntegrityError, match="refund_moves_money_or_goods"):
        Refund.objects.update(amount=0)


@pytest.mark.parametrize(
    "change",
    [{"returned": F("fulfilled") + 1}, {"withdrawn": 2}, {"units_refunded": F("quantity") + 1}],
)
def test_postgres_itself_refuses_more_goods_than_there_were(
    api: Api, sold: Sold, change: Any
) -> None:
    send(api, sold(*TWO, total=1000), {"sku": "A"})
    with pytest.raises(IntegrityError, match="line_units"):
        OrderLine.objects.update(**change)


# --- a line is named by its position -------------------------------------------------------------

HALF_PRICE = ({"sku": "A", "unit_price": 1000}, {"sku": "A", "unit_price": 1000, "discount": 500})
GIFT_FIRST = ({"sku": "A", "unit_price": 0}, {"sku": "A", "unit_price": 1000})


@pytest.mark.parametrize(
    ("lines", "total", "position", "amount"),
    [
        (HALF_PRICE, 1500, 1, 500),
        (HALF_PRICE, 1500, 0, 1000),
        (GIFT_FIRST, 1000, 1, 1000),
        (GIFT_FIRST, 1000, 0, 0),
    ],
)
@pytest.mark.parametrize("sku", [{}, {"sku": "A"}])
def test_the_line_that_is_named_is_the_one_that_goes_back(
    api: Api, sold: Sold, lines: Any, total: int, position: int, amount: int, sku: Any
) -> None:
    path = sold(*lines, total=total)
    assert [line["position"] for line in api.get(path).json()["lines"]] == [0, 1]
    send(api, path, {"position": position, **sku})
    sent = api.get(f"{path}/fulfilments").json()["data"][0]["lines"]
    assert sent == [{"position": position, "sku": "A", "quantity": 1}]
    units = [{"position": position, "quantity": 1, **sku}]
    back = refund(api, path, lines=units, restock=True).json()
    assert back["amount"] == amount
    assert [part["position"] for part in back["lines"]] == [position]
    order_lines = api.get(path).json()["lines"]
    assert [line["returned"] for line in order_lines] == [
        int(index == position) for index in (0, 1)
    ]
    assert held_back("A") == (10, 1)


NAMED = "/lines/0"


@pytest.mark.parametrize("verb", ["fulfilments", "refunds"])
@pytest.mark.parametrize(
    ("units", "pointer", "message"),
    [
        (
            [{"sku": "A"}],
            f"{NAMED}/sku",
            "lines 0, 1 are of this sku: name the line by its position",
        ),
        ([{"sku": "C"}], f"{NAMED}/sku", "no line of the order is of this sku: C"),
        ([{"position": 3}], f"{NAMED}/position", "the lines of the order are 0 to 2"),
        ([{"position": 2, "sku": "A"}], f"{NAMED}/sku", "line 2 is of another sku: B"),
        ([{"position": 0}, {"position": 0}], "/lines", "name each line once"),
        ([{"position": 2}, {"sku": "B"}], "/lines", "name each line once"),
        ([{}], NAMED, "name the line by its position or by its sku"),
        ([{"position": -1}], f"{NAMED}/position", "must be 0 or more"),
        ([{"position": 200}], f"{NAMED}/position", "must be less than 200"),
        ([{"position": "0"}], f"{NAMED}/position", "must be a whole number"),
        ([{"position": True}], f"{NAMED}/position", "must be a whole number"),
        ([{"position": 2}, {"position": 1, "quantity": 2}], "/lines/1/quantity", "1 of A can be"),
    ],
)
def test_whoever_names_no_line_or_more_than_one_is_told_which_field_to_mend(
    api: Api, sold: Sold, verb: str, units: Any, pointer: str, message: str
) -> None:
    path = sold(*HALF_PRICE, {"sku": "B", "unit_price": 100}, total=1600)
    lines = [{"quantity": 1, **unit} for unit in units]
    reason = {"reason": "x"} if verb == "refunds" else {}
    answer = post(api, f"{path}/{verb}", {"lines": lines, **reason})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert (error["pointer"], error["message"].startswith(message)) == (pointer, True), error
    assert names(path) == []


def test_a_sku_that_one_line_has_is_enough(api: Api, sold: Sold) -> None:
    path = sold(*HALF_PRICE, {"sku": "B", "unit_price": 100}, total=1600)
    units = [{"sku": "B", "quantity": 1}]
    assert refund(api, path, lines=units).json()["lines"][0]["position"] == 2
    send(api, path, {"sku": "B"}, {"position": 1})
    assert [line["fulfilled"] for line in api.get(path).json()["lines"]] == [0, 1, 1]
