"""A customer's withdrawal from the contract, as Directive (EU) 2023/2673 wants it: without a
reason, within WITHDRAWAL_DAYS, and once.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone

from orders import snapshots
from orders.models.order_return import Return
from orders.models.refund import Refund
from orders.states import State

if TYPE_CHECKING:
    from orders.models.order import Order

REASON = "withdrawn"


def may_be_withdrawn(order: "Order") -> bool:
    """Whether its customer may still withdraw: until WITHDRAWAL_DAYS after the last of it was sent,
    as long as there is something to cancel or to send back.
    """
    if not settings.WITHDRAWAL_DAYS or order.withdrawn_at or order.state == State.CANCELLED:
        return False
    if not order.has_ended:
        return True
    since = timezone.now() - timedelta(days=settings.WITHDRAWAL_DAYS)
    lately = order.fulfilments.filter(cancelled_at=None, created_at__gt=since)
    return any(line.returnable for line in order.own_lines) and lately.exists()


def withdraw(order: "Order", *, name: str = "") -> Refund | None:
    """Its customer withdraws: what was not sent is cancelled, what was sent is announced to come
    back, and the last event says both. The caller holds the order's lock, has asked
    `may_be_withdrawn`, and promises the refund's job.
    """
    order.assign(withdrawn_at=timezone.now(), withdrawn_by=name)
    refund = None if order.has_ended else order.cancel(REASON)
    if any(line.returnable for line in order.own_lines):
        Return.objects.announce(order, reason=REASON)
    order.record("order.withdrawn")
    return refund


def shown(order: "Order") -> snapshots.Withdrawal | None:
    at = order.withdrawn_at
    return {"at": at.isoformat(), "name": order.withdrawn_by or None} if at else None
