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
    """By their skus, also those that were taken out. Goods of an order that is over need not be
    known here: none are counted then.
    """
    lines = [(line, said.is_over) for said in orders for line in said.lines]
    if over := {line.sku: line.name for line, is_over in lines if is_over}:
        Stock.objects.know(over)
    return Stock.objects.ever({line.sku for line, _ in lines})


def placed(client: Client, said: OrderOfFile, goods: Mapping[str, Stock]) -> Order:
    """Accept an order of a file with its events, and with its first job if anything is left to be
    done, in the caller's transaction. Raises as `Order.objects.place` does.

    Its lines show from the first event on how many of their units were sent elsewhere.
    """
    with together():
        with events.as_of(said.began_at):
            order = Order.objects.place(client, said, _takeable(said, goods))
        if not said.is_past:
            begin(order)
        elif said.is_over:
            _tell(order, said)
        else:
            history = said.model_dump_json(include=set(History.model_fields), exclude_unset=True)
            hold = hold_order.si(str(order.pk), HeldFor.RESERVATION_FAILED.value)
            with serving(order):
                move_in.apply_async((str(order.pk), history), link_error=hold)
    return order


def _takeable(said: OrderOfFile, goods: Mapping[str, Stock]) -> dict[str, Stock]:
    """Its goods: those that are still sold, and any if nothing of it is left to send."""
    own = {line.sku: goods[line.sku] for line in said.lines if line.sku in goods}
    return {sku: row for sku, row in own.items() if said.is_over or row.removed_at is None}


@shared_task(cancellable=True)
def move_in(order_id: str, history: str) -> None:
    """Set aside what is still to be sent of a paid order, then tell what became of it elsewhere. If
    something is short it is cancelled, as one of which no money came here.
    """
    order = Order.objects.locked(order_id)
    if order.held or order.state != State.RECEIVED:
        return
    said = History.model_validate_json(history)
    with together():
        with events.as_of(said.paid_at):
            is_there = order.reserve()
        if is_there:
            _tell(order, said)
            outdate_reports(said.days())


def outdate_reports(days: Collection[date]) -> None:
    """Of these days more is told in this transaction than their reports know."""
    if days:
        outdate.delay(min(days).isoformat(), max(days).isoformat())


def _tell(order: Order, said: History) -> None:
    for step in sorted(_steps(order, said), key=lambda step: step.at):
        with events.as_of(step.at):
            order.record(step.kind, **step.changes)
    _note_money(order, said)


def _steps(order: Order, said: History) -> Iterator[Step]:
    ended = State.COMPLETED if order.units_fulfilled else State.CANCELLED
    if said.paid_at and said.cancelled_at and said.cancelled_at < said.paid_at:
        yield Step(said.paid_at, "order.refund_pending", {"captured": order.total})
    elif said.paid_at:
        paid = {"state": State.CONFIRMED, "captured": order.total, "expires_at": None}
        yield Step(said.paid_at, "order.confirmed", paid)
    if said.fulfilled_at and (order.open_units or said.cancelled_at):
        yield Step(said.fulfilled_at, "order.fulfilled", {})
    elif said.fulfilled_at:
        yield Step(said.fulfilled_at, "order.completed", {"state": State.COMPLETED})
    back = 0
    for refund in sorted(said.refunds, key=lambda refund: refund.at):
        back += refund.amount
        kind = "order.refunded" if refund.amount > 0 else "order.refund_failed"
        yield Step(refund.at, kind, {"refunded": back})
    if said.cancelled_at:
        yield Step(said.cancelled_at, f"order.{ended}", {"state": ended, "reason": said.reason})


def _note_money(order: Order, said: History) -> None:
    """Money that moved elsewhere, as if in one movement each way."""
    if not (order.captured and said.paid_at):
        return
    charge = _operation(order, PaymentOperation.Kind.CHARGE, order.captured, said.paid_at)
    PaymentOperation.objects.bulk_create([charge])
    if order.refunded:
        last = max(refund.at for refund in said.refunds)
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


def _operation(order: Order, kind: str, amount: int, at: datetime) -> PaymentOperation:
    return PaymentOperation(
        order=order,
        kind=kind,
        provider=ELSEWHERE,
        key=f"{order.pk}-{kind}",
        amount=amount,
        currency=order.currency,
        token="",
        state=PaymentOperation.State.SUCCEEDED,
        created_at=at,
    )
