"""Goods of an order that are taken back: its lines and the stock change together."""

from typing import TYPE_CHECKING

from orders.models.placed.line import Units
from orders.models.stocked.movement import StockMovement
from orders.models.stocked.stock import Stock

if TYPE_CHECKING:
    from orders.models.placed.order import Order


def take_back(order: "Order", units: Units) -> None:
    """Units that were not sent stay in the house for others; sent ones are back in it. The caller
    holds the order's lock, and its next event tells.
    """
    kept = [(line, min(number, line.open)) for line, number in units]
    back = [(line, number - held) for (line, number), (_, held) in zip(units, kept, strict=True)]
    for (line, held), (_, came) in zip(kept, back, strict=True):
        line.change(withdrawn=held, returned=came)
    Stock.objects.move(order, StockMovement.Kind.RELEASED, kept)
    Stock.objects.move(order, StockMovement.Kind.RETURNED, back)
    order.assign(units=order.units - sum(held for _, held in kept))
