"""Whom a mail of an event goes to."""

from collections.abc import Mapping
from typing import Any

from celery_ledger import context
from notifications.mail.message import has_words
from notifications.models import Event

# The reasons of a hold of which the customer is mailed: they can help, or will wonder. Of others,
# the machine's or in the staff's own words, nobody is.
HOLDS_TOLD = ("address_unclear", "delayed")
WITHDRAWN = "withdrawn"  # the reason of what a withdrawal brings about
ABOUT = {  # the member of the event's data that its mail needs beside the order
    "order.fulfilled": "fulfilment",
    "order.fulfilment_cancelled": "fulfilment",
    "order.refunded": "refund",
    "order.refund_failed": "refund",
    "order.return_announced": "return",
    "order.return_received": "return",
    "order.return_cancelled": "return",
}


def recipients(event: Event) -> list[str]:
    """The addresses that the event names, or else its order's; none, if there is no mail for this
    kind, if it does not concern the customer, or if what is done to the order is quiet.
    """
    order = event.data.get("order", {})
    to = event.data.get("mail", {}).get("to") or [order.get("email")]
    addresses = [address for address in to if address]
    is_quiet = order and context.current().get("quiet")
    if is_quiet or not addresses or not has_words(event.kind):
        return []
    return addresses if _concerns(event.kind, event.data) else []


def _concerns(kind: str, data: dict[str, Any]) -> bool:
    """Whether the customer is to be mailed of an event of this kind with this data."""
    order = data.get("order", {})
    match kind:
        case "order.completed":  # the last parcel's mail says it, but not what was cancelled
            return bool(order.get("reason")) and not _is_of_withdrawal(data)
        case "order.cancelled" | "order.return_announced" if _is_of_withdrawal(data):
            return False  # its receipt says so too
        case "order.held":
            return order.get("hold_reason") in HOLDS_TOLD
        case "order.released":
            return data.get("hold", {}).get("reason") in HOLDS_TOLD
        case "order.payment_failed":  # while another card may be tried
            return order.get("state") == "reserved" and not order.get("held")
    return kind not in ABOUT or ABOUT[kind] in data


def _is_of_withdrawal(data: Mapping[str, Any]) -> bool:
    """The end of an order, or a return, that its customer's withdrawal has brought about."""
    order = data.get("order", {})
    about = data.get("return", order)
    return bool(order.get("withdrawal")) and about.get("reason") == WITHDRAWN
