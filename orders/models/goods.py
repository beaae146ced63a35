"""Goods of an order that are taken back: its lines and the stock change together."""

from typing import TYPE_CHECKING

from orders.models.placed.line import Units
from orders.models.stocked.movement import StockMovement
from orders.models.stocked.stock import Stock

if TYPE_CHECKING:
    from orders.models.placed.order import Order


def take_back(order: "Order", units: Units) -> None:
    """Take units of an order back: those that were not sent stay in the house for others, sent ones
    are in it again. The caller holds the order's lock, and records the event.
    """
    unsent: Units = []
    sent: Units = []
    for line, number in units:
        open_ = min(number, line.open)
        unsent.append((line, open_))
        sent.append((line, number - open_))
        line.change(withdrawn=open_, returned=number - open_)
    Stock.objects.move(order, StockMovement.Kind.RELEASED, unsent)
    Stock.objects.move(order, StockMovement.Kind.RETURNED, sent)
    order.assign(units=order.units - sum(number for _, number in unsent))
