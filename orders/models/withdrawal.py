"""A customer's withdrawal from the contract or from a part of it, as Directive (EU) 2023/2673 wants
it: without a reason, within the days that the shop gives (`Shop.withdrawal_days`), and of each unit
once.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from notifications.models import Shop
from orders import snapshots
from orders.models.order_return import Return
from orders.models.placed.line import Units
from orders.models.refund import Asked, Refund
from orders.states import State

if TYPE_CHECKING:
    from orders.models.placed.order import Order

REASON = "withdrawn"


def withdrawable(order: "Order") -> Units:
    """The units of an order that its customer may withdraw from: to be sent, or sent and neither
    back nor announced. Of a cancelled order there are none.
    """
    if order.state == State.CANCELLED:
        return []
    return [(line, line.restockable) for line in order.own_lines if line.restockable]


def may_be_withdrawn(order: "Order") -> bool:
    """Whether the customer of an order may still withdraw: within the shop's days after the last of
    it was sent, while there is something to cancel or to send back, and an address for the receipt.
    """
    days = Shop.objects.of(order.client_id).withdrawal_days
    if not days or not withdrawable(order) or order.was_erased:
        return False
    if not order.has_ended:
        return True
    since = timezone.now() - timedelta(days=days)
    return order.fulfilments.filter(cancelled_at=None, created_at__gt=since).exists()


def may_be_withdrawn_in_part(order: "Order") -> bool:
    """Whether the customer of an order may also choose units: once it is paid. Before, the amount
    that is being charged or collected would have to change.
    """
    return order.was_confirmed and order.captured >= order.total


def is_withdrawn(order: "Order") -> bool:
    """Whether the customer of an order has withdrawn, and nothing of it is left to them."""
    if order.withdrawn_at is None:
        return False
    return order.reason == REASON if order.state == State.CANCELLED else not withdrawable(order)


def withdraw(order: "Order", units: Units | None = None, *, name: str = "") -> Refund | None:
    """The customer of an order withdraws from these units, or from all that are `withdrawable`:
    what was not sent is cancelled, what was sent is announced to come back, and the last event has
    both. Of a line it is the unsent units first.

    The caller holds the order's lock, has asked `may_be_withdrawn`, for units also
    `may_be_withdrawn_in_part`, and promises the job of the refund that this returns. Refuses with
    `invalid` more units than there are, and with `too-many-returns`.
    """
    left = withdrawable(order)
    units = left if units is None else units
    unsent = [(line, min(number, line.open)) for line, number in units]
    sent = [(line, number - min(number, line.open)) for line, number in units]
    order.assign(withdrawn_at=timezone.now(), withdrawn_by=name, withdrawn_lines=_named(units))
    if set(units) == set(left):
        refund = None if order.has_ended else order.cancel(REASON)
    else:
        refund = _take_off(order, _some(unsent))
    if _some(sent):
        Return.objects.announce(order, _some(sent), reason=REASON)
    order.record("order.withdrawn")
    return refund


def _take_off(order: "Order", units: Units) -> Refund | None:
    """Units that will not be sent are withdrawn, and their money goes back; None without any. The
    shipping is for the others.
    """
    if not units:
        return None
    refund = Refund.objects.write_down(order, Asked(units=units, restock=True), reason=REASON)
    order.note_refund(refund, reason=REASON)
    return refund


def _some(units: Units) -> Units:
    return [(line, number) for line, number in units if number]


def _named(units: Units) -> list[snapshots.Units]:
    return [
        {"position": line.position, "sku": line.sku, "quantity": number} for line, number in units
    ]


def snapshot(order: "Order") -> snapshots.Withdrawal | None:
    """The newest withdrawal as the API shows it; None while there is none."""
    if order.withdrawn_at is None:
        return None
    return {
        "at": order.withdrawn_at.isoformat(),
        "name": order.withdrawn_by or None,
        "lines": order.withdrawn_lines,
    }
