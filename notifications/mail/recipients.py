"""Whom a mail of an event goes to."""

from celery_ledger import context
from notifications.mail.message import template_name
from notifications.models import Event


def recipients(event: Event) -> list[str]:
    """Whom the event names, or the customer, if there is something to say to them about this kind
    of event, and what is being done is not quiet.
    """
    order = event.data.get("order", {})
    named = [one for one in event.data.get("mail", {}).get("to") or [order.get("email")] if one]
    # of one that is complete there is nothing to say, unless a part of it was cancelled
    is_told = event.kind != "order.completed" or order.get("reason")
    if order.get("withdrawal") and event.kind in ("order.completed", "order.cancelled"):
        is_told = False  # its receipt says so too
    is_quiet = order and context.current().get("quiet")
    if is_quiet or not (is_told and template_name(event, "en")):
        return []
    return named
