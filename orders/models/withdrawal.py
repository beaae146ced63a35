"""A customer's withdrawal from the contract, as Directive (EU) 2023/2673 wants it: without a
reason, within the days that the shop gives (`Shop.withdrawal_days`), and once.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from notifications.models import Shop
from orders import snapshots
from orders.models.order_return import Return
from orders.models.refund import Refund
from orders.states import State

if TYPE_CHECKING:
    from orders.models.placed.order import Order

REASON = "withdrawn"


def may_be_withdrawn(order: "Order") -> bool:
    """Whether the customer of an order may still withdraw: within the shop's days after the last of
    it was sent, while there is something to cancel or to send back, and an address for the receipt.
    """
    days = Shop.objects.of(order.client_id).withdrawal_days
    if not days or order.withdrawn_at or order.state == State.CANCELLED or order.was_erased:
        return False
    if not order.has_ended:
        return True
    since = timezone.now() - timedelta(days=days)
    lately = order.fulfilments.filter(cancelled_at=None, created_at__gt=since)
    return any(line.returnable for line in order.own_lines) and lately.exists()


def withdraw(order: "Order", *, name: str = "") -> Refund | None:
    """The customer withdraws from an order: what was not sent is cancelled, what was sent is
    announced to come back, and the last event has both. The caller holds the order's lock, has
    asked `may_be_withdrawn`, and promises the job of the refund that this returns.
    """
    order.assign(withdrawn_at=timezone.now(), withdrawn_by=name)
    refund = None if order.has_ended else order.cancel(REASON)
    if any(line.returnable for line in order.own_lines):
        Return.objects.announce(order, reason=REASON)
    order.record("order.withdrawn")
    return refund


def snapshot(order: "Order") -> snapshots.Withdrawal | None:
    """The withdrawal as the API shows it; None while there is none."""
    if order.withdrawn_at is None:
        return None
    return {"at": order.withdrawn_at.isoformat(), "name": order.withdrawn_by or None}
