"""Do stock and money add up? Invariant I9, as the tests ask it."""

from django.db.models import Sum

from orders.models import Order, Stock
from orders.payments.sandbox_book import SandboxCharge, SandboxRefund


def books_balance() -> bool:
    """Invariant I9: counters are the sums of their movements."""
    summed = Stock.objects.annotate(
        on_hand_sum=Sum("movements__on_hand_delta", default=0),
        reserved_sum=Sum("movements__reserved_delta", default=0),
    )
    rows = summed.values_list("on_hand", "reserved", "on_hand_sum", "reserved_sum")
    return all(row[:2] == row[2:] for row in rows)


def given_back() -> int:
    assert money_adds_up()
    return SandboxRefund.objects.filter(status="succeeded").aggregate(sum=Sum("amount"))["sum"] or 0


def money_adds_up() -> bool:
    """Invariant I9: captured less refunded is what the provider's book has, order by order and line
    by line.
    """
    for order in Order.objects.all():
        charge = SandboxCharge.objects.filter(key=f"{order.pk}-charge", status="succeeded").first()
        back = (
            sum(refund.amount for refund in charge.refunds.filter(status="succeeded"))
            if charge
            else 0
        )
        lines = sum(line.refunded for line in order.lines.all()) + order.shipping_refunded
        if order.captured - order.refunded != (charge.amount if charge else 0) - back:
            return False
        if lines != order.refunded + order.refund_pending:
            return False
    return True
