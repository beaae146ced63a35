"""Two want the same goods or the same money back at the same moment, each over a connection of its
own: rows decide, and the books add up afterwards.
"""

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.test import Client as HttpClient

from celery_ledger.testing import work_off
from orders.audit import MONEY, STOCK, broken
from orders.models import Order, OrderLine, Refund, Return, Stock, StockMovement
from tests.api.endpoints.ordering.goods import Sold
from tests.postgres.hands import in_threads
from tests.shop import Api, post

pytestmark = pytest.mark.django_db(transaction=True)
Asked = Callable[[], Any]
HANDS, ROUNDS = 6, 4
UNIT = {"lines": [{"position": 0, "quantity": 1}]}
BACK = {**UNIT, "reason": "x", "restock": True}


@pytest.fixture
def sent(api: Api, sold: Sold) -> Callable[..., str]:
    """Orders of so many units, at 500 and 100 of shipping, all of them or some sent."""

    def order(quantity: int, *, of: int | None = None) -> str:
        units = of or quantity
        line = {"sku": "A", "quantity": units, "unit_price": 500}
        path = sold(line, shipping={"amount": 100}, total=500 * units + 100)
        lines = {"lines": [{"position": 0, "quantity": quantity}]}
        assert post(api, f"{path}/fulfilments", lines).status_code == 201
        return path

    return order


def at_once(*asked: Asked) -> Counter[str]:
    """Each from a hand of its own, in one moment: how often each answer was given."""
    together = threading.Barrier(len(asked))

    def ask(one: Asked) -> str:
        together.wait(timeout=10)
        answer = one()
        if answer.status_code < 400:
            return str(answer.status_code)
        return f"{answer.status_code} {answer.json()['type'].removeprefix('/problems/')}"

    return Counter(in_threads(ask, list(asked), hands=len(asked)))


def posting(api: Api, path: str, body: Any = None) -> Asked:
    return lambda: post(api, path, body)


def line_of(path: str) -> OrderLine:
    work_off()
    assert [*broken(STOCK, limit=9), *broken(MONEY, limit=9)] == []
    return OrderLine.objects.get(order_id=path.rsplit("/", 1)[1])


def announced(api: Api, path: str) -> str:
    return f"{path}/returns/{post(api, f'{path}/returns', UNIT).json()['id']}"


def test_one_unit_is_announced_once(api: Api, sent: Callable[..., str]) -> None:
    path = sent(2)
    answers = at_once(*[posting(api, f"{path}/returns", UNIT)] * HANDS)
    assert answers == {"201": 2, "409 nothing-to-return": HANDS - 2}
    assert (line_of(path).announced, Return.objects.count()) == (2, 2)


@pytest.mark.soak
def test_a_return_is_received_once_or_cancelled(api: Api, sent: Callable[..., str]) -> None:
    for _ in range(ROUNDS):
        path = sent(1)
        come = announced(api, path)
        receive, cancel = (posting(api, f"{come}/receive"), posting(api, f"{come}/cancel"))
        answers = at_once(receive, cancel, receive, cancel)
        line, state = line_of(path), Return.objects.get(pk=come.rsplit("/", 1)[1]).state
        received = state == "received"
        assert answers["200"] == (1 if received else 2)
        assert answers["200"] + answers["409 return-has-ended"] == 4
        assert (line.announced, line.returned, line.refunded) == (0, received, 500 * received)


@pytest.mark.soak
def test_a_unit_is_announced_or_taken_back_by_a_refund(api: Api, sent: Callable[..., str]) -> None:
    for _ in range(ROUNDS):
        path = sent(1)
        announce, refund = (
            posting(api, f"{path}/returns", UNIT),
            posting(api, f"{path}/refunds", BACK),
        )
        answers = at_once(announce, refund, announce, refund)
        line = line_of(path)
        assert (line.announced + line.returned, line.refunded) == (1, 500 * line.returned)
        assert answers["201"] + answers["202"] == 1
        assert max(answer[:3] for answer in answers) < "500"


def test_the_money_of_a_return_goes_back_once(api: Api, sent: Callable[..., str]) -> None:
    for _ in range(ROUNDS):
        path = sent(1)
        come = announced(api, path)
        answers = at_once(
            *[posting(api, f"{come}/receive", {"shipping": 100})] * 2,
            *[posting(api, f"{path}/refunds", {"reason": "x"})] * 2,
            posting(api, f"{path}/refunds", {"reason": "x", "shipping": 100}),
        )
        line, order = line_of(path), Order.objects.get(pk=path.rsplit("/", 1)[1])
        assert (line.refunded, order.refunded, order.shipping_refunded) == (500, 600, 100)
        assert max(answer[:3] for answer in answers) < "500"
        # received with its shipping, or refused as that had gone back, and still open
        assert (line.returned, line.announced) in ((1, 0), (0, 1))


@pytest.mark.soak
def test_a_fulfilment_is_a_mistake_or_its_goods_are_announced(
    api: Api, sent: Callable[..., str]
) -> None:
    for _ in range(ROUNDS):
        path = sent(1)
        order = Order.objects.get(pk=path.rsplit("/", 1)[1])
        booked = f"{path}/fulfilments/{order.fulfilments.get().pk}"
        announce, cancel = (posting(api, f"{path}/returns", UNIT), posting(api, f"{booked}/cancel"))
        answers = at_once(announce, cancel, announce, cancel)
        line = line_of(path)
        order.refresh_from_db()
        assert (line.fulfilled, line.announced, order.state) in (
            (1, 1, "completed"),
            (0, 0, "confirmed"),
        )
        unsent = StockMovement.objects.filter(order=order, kind="unshipped").count()
        assert unsent == 1 - line.fulfilled
        assert answers["201"] == line.announced


def test_the_rest_is_sent_or_withdrawn_and_what_was_sent_is_announced(
    api: Api, sent: Callable[..., str], settings: Any
) -> None:
    """The customer confirms the withdrawal at the moment in which the last unit is sent."""
    settings.SHOP = {**settings.SHOP, "withdrawal_days": 14}
    for _ in range(ROUNDS):
        path = sent(1, of=2)
        order = Order.objects.get(pk=path.rsplit("/", 1)[1])
        page = f"/o/{order.public_token}/withdraw/"
        answers = at_once(
            *[partial(HttpClient().post, page)] * 3,
            *[posting(api, f"{path}/fulfilments", UNIT)] * 3,
        )
        line = line_of(path)
        order.refresh_from_db()
        assert (line.fulfilled + line.withdrawn, order.state) == (2, "completed")
        assert (line.announced, line.refunded) == (line.fulfilled, 500 * line.withdrawn)
        assert order.returns.count() == answers["303"] - 2 == 1
        assert answers["201"] == line.fulfilled - 1
    assert (Stock.objects.get(sku="A").reserved, Refund.objects.filter(amount=0).count()) == (0, 0)
