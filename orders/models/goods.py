"""Goods of an order on the move: the counters of its lines and those of the stock change together.

The caller holds the order's lock and records the event that tells.
"""

from typing import TYPE_CHECKING

from orders.models.order_line import Units
from orders.models.stock import Stock, StockMovement

if TYPE_CHECKING:
    from orders.models.order import Order


def take_back(order: "Order", units: Units) -> None:
    """Units that were not sent stay in the house for others; sent ones are back in it."""
    kept = [(line, min(number, line.open)) for line, number in units]
    back = [(line, number - held) for (line, number), (_, held) in zip(units, kept, strict=True)]
    for (line, held), (_, came) in zip(kept, back, strict=True):
        line.change(withdrawn=held, returned=came)
    Stock.objects.move(order, StockMovement.Kind.RELEASED, kept)
    Stock.objects.move(order, StockMovement.Kind.RETURNED, back)
    order.assign(units=order.units - sum(held for _, held in kept))


def send(order: "Order", units: Units) -> None:
    """They have left the house."""
    for line, number in units:
        line.change(fulfilled=number)
    Stock.objects.move(order, StockMovement.Kind.SHIPPED, units)


def unsend(order: "Order", units: Units) -> None:
    """They have not left the house after all, and are set aside again."""
    for line, number in units:
        line.change(fulfilled=-number)
    Stock.objects.move(order, StockMovement.Kind.UNSHIPPED, units)
