"""Whom a mail of an event goes to."""

from typing import Any

from celery_ledger import context
from notifications.mail.message import has_words
from notifications.models import Event

# Why an order may be on hold so that its customer is told: they can help, or will wonder. What the
# machine holds, or the staff in other words, is told to nobody.
HOLDS_TOLD = ("address_unclear", "delayed")
ABOUT = {  # what the mail about it needs to know beside the order
    "order.fulfilled": "fulfilment",
    "order.fulfilment_cancelled": "fulfilment",
    "order.refunded": "refund",
    "order.refund_failed": "refund",
    "order.return_announced": "return",
    "order.return_received": "return",
    "order.return_cancelled": "return",
}


def recipients(event: Event) -> list[str]:
    """Whom the event names, or the customer, if there is something to say to them about this event,
    and what is being done is not quiet.
    """
    order = event.data.get("order", {})
    named = [one for one in event.data.get("mail", {}).get("to") or [order.get("email")] if one]
    is_quiet = order and context.current().get("quiet")
    if is_quiet or not (named and has_words(event.kind) and _concerns(event.kind, event.data)):
        return []
    return named


def _concerns(kind: str, data: dict[str, Any]) -> bool:
    """Whether this event of such a kind is one for its customer."""
    order = data.get("order", {})
    match kind:
        case "order.completed":  # the last parcel's mail says it, but not what was cancelled
            return bool(order.get("reason")) and not order.get("withdrawal")
        case "order.cancelled" | "order.return_announced" if order.get("withdrawal"):
            return False  # its receipt says so too
        case "order.held":
            return order.get("hold_reason") in HOLDS_TOLD
        case "order.released":
            return data.get("hold", {}).get("reason") in HOLDS_TOLD
        case "order.payment_failed":  # while another card may be tried
            return order.get("state") == "reserved" and not order.get("held")
    return kind not in ABOUT or ABOUT[kind] in data
