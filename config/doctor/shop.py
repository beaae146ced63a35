"""Checks of the shop: what does not arrive, and what waits for a person."""

from django.conf import settings
from django.db.models import Count

from config.doctor.finding import Finding
from notifications.models import Suppression
from notifications.oversight.trouble import troubles
from orders.models import Order


def deliveries() -> Finding:
    found = troubles()
    if not found:
        days = settings.DELIVERY_TOLD_FOR.days
        return Finding("deliveries", f"None was given up in {days} days, and none is overdue.")
    named = [str(trouble) for trouble in found[: settings.TROUBLES_SHOWN]]
    if left_out := len(found) - len(named):
        named.append(f"{left_out} targets more")
    return Finding(
        "deliveries",
        f"They do not arrive: {'; '.join(named)}.",
        "See `python manage.py deliveries list --state failed` and `deliveries why ID`; "
        "mend the cause, then `deliveries retry`.",
    )


def suppressed() -> Finding:
    """That customers are not mailed is no fault of the installation; that its own people are not
    is.
    """
    own = [address for address in settings.REPORT_EMAILS if Suppression.objects.of(address)]
    if own:
        return Finding(
            "unmailed",
            f"Nothing is mailed to {len(own)} of REPORT_EMAILS, on the list of such addresses.",
            "See why: `python manage.py mails suppressed`; then `mails unsuppress ADDRESS`.",
        )
    number = Suppression.objects.newest()[: settings.METRICS_ROWS_MAX].count()
    if not number:
        return Finding("unmailed", "No address is on the list of those that nothing is mailed to.")
    return Finding("unmailed", f"Addresses that nothing is mailed to: {number}.")


def held_orders() -> Finding:
    held = (
        Order.objects.filter(held=True)
        .values_list("hold_reason")
        .annotate(number=Count("pk"))
        .order_by("hold_reason")
    )
    if not held:
        return Finding("held", "No order is held.")
    reasons = ", ".join(f"{number} for {reason or 'no reason'}" for reason, number in held)
    return Finding(
        "held", f"Held orders wait for a person: {reasons}.", "See docs/runbook.md for each reason."
    )
