"""Orders of a file come into the book: new ones, and those that were placed elsewhere, each with
its dates and with what has become of it there.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from celery import shared_task
from uuid_utils.compat import uuid7

from celery_ledger import together
from notifications import events
from orders.imports.elsewhere.order_of_file import History, OrderOfFile
from orders.models import Client, Order, Refund, State, Stock
from orders.payments.models import PaymentOperation
from orders.payments.provider import ELSEWHERE
from orders.reports.tasks import outdate
from orders.states import HeldFor
from orders.tasks import begin, hold_order, serving


class Step(NamedTuple):
    """An event of an order, and the columns that it changes."""

    at: datetime
    kind: str
    changes: dict[str, Any]


def goods_of(orders: Iterable[OrderOfFile]) -> dict[str, Stock]:
    """The goods of these orders by their skus, also those that were taken out. Goods of an order
    that is over need not be here yet: they are added, none on hand.
    """
    skus: set[str] = set()
    names_of_past: dict[str, str] = {}
    for order_input in orders:
        skus.update(line.sku for line in order_input.lines)
        if order_input.is_over:
            names_of_past.update((line.sku, line.name) for line in order_input.lines)
    if names_of_past:
        Stock.objects.know(names_of_past)
    return Stock.objects.ever(skus)


def placed(client: Client, order_input: OrderOfFile, goods: Mapping[str, Stock]) -> Order:
    """Accept an order of a file with its events, and with its first job if anything is left to be
    done, in the caller's transaction. Refuses as `Order.objects.place` does.

    Its lines show from the first event on how many of their units were sent elsewhere.
    """
    with together():
        with events.as_of(order_input.began_at):
            order = Order.objects.place(client, order_input, _takeable(order_input, goods))
        if not order_input.is_past:
            begin(order)
        elif order_input.is_over:
            _tell(order, order_input)
        else:
            _promise_to_move_in(order, order_input)
    return order


def _takeable(order_input: OrderOfFile, goods: Mapping[str, Stock]) -> dict[str, Stock]:
    """The goods of an order by their skus: those that are still sold, and any if nothing of it is
    left to send.
    """
    own = {line.sku: goods[line.sku] for line in order_input.lines if line.sku in goods}
    if order_input.is_over:
        return own
    return {sku: stock for sku, stock in own.items() if stock.removed_at is None}


def _promise_to_move_in(order: Order, history: History) -> None:
    text = history.model_dump_json(include=set(History.model_fields), exclude_unset=True)
    hold = hold_order.si(str(order.pk), HeldFor.RESERVATION_FAILED.value)
    with serving(order):
        move_in.apply_async((str(order.pk), text), link_error=hold)


@shared_task(cancellable=True)
def move_in(order_id: str, history: str) -> None:
    """Set aside what is still to be sent of a paid order, then tell what became of it elsewhere. If
    something is short it is cancelled, as one of which no money came here. `history`: JSON of a
    History.
    """
    order = Order.objects.locked(order_id)
    if order.held or order.state != State.RECEIVED:
        return
    elsewhere = History.model_validate_json(history)
    with together():
        with events.as_of(elsewhere.paid_at):
            is_there = order.reserve()
        if is_there:
            _tell(order, elsewhere)
            outdate_reports(elsewhere.days())


def outdate_reports(days: Collection[date]) -> None:
    """Have the reports of these days computed anew: this transaction adds events to them."""
    if days:
        outdate.delay(min(days).isoformat(), max(days).isoformat())


def _tell(order: Order, history: History) -> None:
    for step in sorted(_steps(order, history), key=lambda step: step.at):
        with events.as_of(step.at):
            order.record(step.kind, **step.changes)
    _note_money(order, history)


def _steps(order: Order, history: History) -> Iterator[Step]:
    ended = State.COMPLETED if order.units_fulfilled else State.CANCELLED
    if history.paid_at and history.cancelled_at and history.cancelled_at < history.paid_at:
        yield Step(history.paid_at, "order.refund_pending", {"captured": order.total})
    elif history.paid_at:
        paid = {"state": State.CONFIRMED, "captured": order.total, "expires_at": None}
        yield Step(history.paid_at, "order.confirmed", paid)
    if history.fulfilled_at and (order.open_units or history.cancelled_at):
        yield Step(history.fulfilled_at, "order.fulfilled", {})
    elif history.fulfilled_at:
        yield Step(history.fulfilled_at, "order.completed", {"state": State.COMPLETED})
    back = 0
    for refund in sorted(history.refunds, key=lambda refund: refund.at):
        back += refund.amount
        kind = "order.refunded" if refund.amount > 0 else "order.refund_failed"
        yield Step(refund.at, kind, {"refunded": back})
    if history.cancelled_at:
        end = {"state": ended, "reason": history.reason}
        yield Step(history.cancelled_at, f"order.{ended}", end)


def _note_money(order: Order, history: History) -> None:
    """Write down the money that moved elsewhere, as if in one movement each way."""
    if not (order.captured and history.paid_at):
        return
    charge = _operation(order, PaymentOperation.Kind.CHARGE, order.captured, history.paid_at)
    PaymentOperation.objects.bulk_create([charge])
    if order.refunded:
        last = max(refund.at for refund in history.refunds)
        back = _operation(order, PaymentOperation.Kind.REFUND, order.refunded, last)
        PaymentOperation.objects.bulk_create([back])
        Refund.objects.create(
            id=uuid7(),
            order=order,
            operation=back,
            amount=order.refunded,
            currency=order.currency,
            reason=order.reason or "refunded elsewhere",
            restock=False,
            lines=[],
            shipping=order.shipping_refunded,
            created_at=last,
        )


def _operation(order: Order, kind: str, amount: int, moved_at: datetime) -> PaymentOperation:
    return PaymentOperation(
        order=order,
        kind=kind,
        provider=ELSEWHERE,
        key=f"{order.pk}-{kind}",
        amount=amount,
        currency=order.currency,
        token="",
        state=PaymentOperation.State.SUCCEEDED,
        created_at=moved_at,
    )
