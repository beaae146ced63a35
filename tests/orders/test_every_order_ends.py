"""Whatever is sent, taken back and paid back in whatever order: the books add up after each step,
each change is told, and a call ends the order.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from notifications.events import timeline
from orders.audit import MONEY, STOCK, broken
from orders.inputs.order import OrderInput
from orders.models import (
    Asked,
    Came,
    Client,
    Fulfilment,
    Order,
    Refund,
    Return,
    Stock,
    may_be_withdrawn,
    withdraw,
)
from orders.payments.models import PaymentOperation
from orders.payments.outcome import apply_answer
from orders.payments.paying import mark_paid
from orders.payments.provider import Charge, ChargeStatus
from orders.tasks import place
from values.refused import Refused

pytestmark = pytest.mark.django_db
EXAMPLES = int(os.environ.get("ORDER_EXAMPLES", "30"))
SEED = int(os.environ.get("ORDER_SEED", "0"))
STEPS, LINES, QUANTITY = 10, 3, 3
Step = tuple[Any, ...]

lines = st.lists(
    st.fixed_dictionaries(
        {
            "sku": st.sampled_from("AB"),
            "quantity": st.integers(1, QUANTITY),
            "unit_price": st.integers(0, 3),
            "tax": st.integers(0, 1),
        }
    ),
    min_size=1,
    max_size=LINES,
)
units = st.none() | st.dictionaries(
    st.integers(0, LINES - 1), st.integers(1, QUANTITY), min_size=1, max_size=LINES
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), units),
        st.tuples(st.just("refund"), st.none(), units, st.booleans()),
        st.tuples(st.just("refund"), st.integers(1, 6), st.none(), st.just(False)),
        st.tuples(st.just("refund"), st.just(0), units, st.just(True)),
        st.tuples(st.just("refund the shipping"), st.integers(1, 2), units),
        st.tuples(st.just("announce"), units),
        st.tuples(st.just("receive"), units, st.none() | st.integers(0, 3), st.integers(0, 2)),
        st.tuples(st.just("answer"), st.sampled_from(ChargeStatus)),
        *[
            st.tuples(st.just(verb))
            for verb in (
                "send back",
                "hold",
                "release",
                "cancel",
                "mark paid",
                "withdraw",
                "unsend",
                "keep",
            )
        ],
    ),
    min_size=STEPS // 2,
    max_size=STEPS,
)


def answer(order: Order, operation: PaymentOperation, status: ChargeStatus) -> None:
    """What the provider says of it."""
    charge = Charge(
        f"id-{operation.pk}", operation.key, operation.amount, operation.currency, status
    )
    apply_answer(order, operation, charge)


def of(order: Order, asked: dict[int, int] | None) -> Any:
    if asked is None:
        return None
    lines = order.own_lines
    return [(lines[position], n) for position, n in asked.items() if position < len(lines)]


def refunds_of(order: Order) -> Any:
    return order.operations.filter(kind="refund").order_by("pk")


def hear(order: Order, status: ChargeStatus) -> None:
    """Of the first refund that is under way."""
    operation = refunds_of(order).exclude(state__in=PaymentOperation.ENDED).first()
    if operation is not None:
        answer(order, operation, status)


def send_back(order: Order) -> None:
    """The bank sends back the first refund that had succeeded."""
    operation = refunds_of(order).filter(state="succeeded").first()
    if operation is not None:
        answer(order, operation, ChargeStatus.DECLINED)


def ask_back(order: Order, amount: int | None, asked: Any, restock: bool) -> None:
    Refund.objects.promise(order, Asked(amount, of(order, asked), restock), reason="x")


def ask_shipping_back(order: Order, amount: int, asked: Any) -> None:
    Refund.objects.promise(order, Asked(units=of(order, asked), shipping=amount), reason="x")


def receive(order: Order, asked: Any, amount: int | None, shipping: int) -> None:
    """The oldest return that is open; every second line is broken."""
    came = of(order, asked)
    if come := order.returns.filter(state="announced").first():
        units = came and [Came(line, n, restock=line.position % 2 == 0) for line, n in came]
        come.receive(units, amount=amount, shipping=shipping)


def keep(order: Order) -> None:
    for come in order.returns.filter(state="announced"):
        come.cancel()


def unsend(order: Order) -> None:
    if booked := order.fulfilments.filter(cancelled_at=None).last():
        booked.cancel()


def withdraw_if_open(order: Order) -> None:
    if may_be_withdrawn(order):
        withdraw(order)


VERBS: dict[str, Callable[..., Any]] = {
    "send": lambda order, asked: Fulfilment.objects.ship(order, of(order, asked)),
    "refund": ask_back,
    "refund the shipping": ask_shipping_back,
    "announce": lambda order, asked: Return.objects.announce(order, of(order, asked), reason="x"),
    "receive": receive,
    "keep": keep,
    "unsend": unsend,
    "withdraw": withdraw_if_open,
    "answer": hear,
    "send back": send_back,
    "hold": lambda order: order.hold("looks odd"),
    "release": Order.release,
    "cancel": lambda order: order.cancel("requested"),
    "mark paid": lambda order: mark_paid(order, reference="", amount=None),
}


def assert_all_is_told_and_adds_up(order: Order) -> None:
    assert [*broken(STOCK, limit=9), *broken(MONEY, limit=9)] == []
    events = list(timeline(order.pk))
    assert [event.seq for event in events] == list(range(1, order.version + 1))
    assert events[-1].data["order"] == Order.objects.get(pk=order.pk).snapshot()


@pytest.fixture
def withdrawable(settings: Any) -> None:
    settings.SHOP = {**settings.SHOP, "withdrawal_days": 14}


@seed(SEED)
@given(
    lines=lines,
    shipping=st.integers(0, 2),
    sent=units,
    steps=steps,
    payment=st.sampled_from([{"token": "tok_ok"}, {"method": "manual"}, {"method": "cod"}]),
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_happens_to_an_order_it_is_told_adds_up_and_can_be_ended(
    shop: Client,
    stock: Any,
    order_body: Callable[..., dict[str, Any]],
    withdrawable: None,
    lines: list[dict[str, Any]],
    shipping: int,
    sent: dict[int, int] | None,
    steps: list[Step],
    payment: dict[str, str],
) -> None:
    total = sum(line["quantity"] * line["unit_price"] + line["tax"] for line in lines) + shipping
    body = order_body(lines=lines, shipping={"amount": shipping}, total=total, payment=payment)
    with transaction.atomic():
        for sku in "AB":
            stock(sku)
        order = confirmed(shop, OrderInput.model_validate(body))
        for step in [("send", sent), *steps, ("cancel",)]:
            try:
                with transaction.atomic():
                    VERBS[step[0]](order, *step[1:])
            except Refused:
                order = Order.objects.locked(order.pk)
            assert_all_is_told_and_adds_up(order)
        assert order.has_ended
        assert set(Stock.objects.values_list("reserved", flat=True)) == {0}
        transaction.set_rollback(True)


def confirmed(shop: Client, order_input: OrderInput) -> Order:
    order = Order.objects.locked(place(shop, order_input).pk)
    order.reserve()
    if order.total == 0 or order.payment_method == "cod":
        order.confirm()
    elif order.payment_method == "manual":
        mark_paid(order, reference="", amount=None)
    else:
        answer(order, order.intend_charge(), ChargeStatus.SUCCEEDED)
    assert_all_is_told_and_adds_up(order)
    return order
