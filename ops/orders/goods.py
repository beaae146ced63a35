"""What staff do to the goods and the money of an order: `do` and `noted` of its verbs."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ops.orders.acting import Entered
from ops.orders.forms.goods import units_of
from orders.models import Asked, Came, Fulfilment, Order, Refund, Return
from orders.payments import paying
from orders.tasks import give_back
from values import money
from values.refused import invalid

REASON = "staff"


def fulfil(order: Order, entered: Entered, by: str) -> None:
    units = _some(units_of(order, entered), _("Name a piece to send."))
    Fulfilment.objects.ship(order, units, carrier=entered["carrier"], tracking=entered["tracking"])


def unship(parcel: Fulfilment, entered: Entered, by: str) -> None:
    parcel.cancel()


def mark_paid(order: Order, entered: Entered, by: str) -> None:
    paying.mark_paid(order, reference=entered["reference"], amount=None)


def refund(order: Order, entered: Entered, by: str) -> None:
    amount = _amount(order, entered, "amount", most=order.refundable)
    shipping = _amount(order, entered, "shipping", most=order.shipping_refundable) or 0
    if amount and shipping:
        raise invalid(("/shipping", _("It goes with pieces or alone, without an amount.")))
    asked = Asked(amount, units_of(order, entered) or None, entered["restock"], shipping)
    give_back(Refund.objects.promise(order, asked, reason=REASON))


def withdraw(order: Order, entered: Entered, by: str) -> None:
    units = _some(units_of(order, entered), _("Name a piece that is not to be sent."))
    give_back(Refund.objects.promise(order, Asked(units=units, restock=True), reason=REASON))


def announce(order: Order, entered: Entered, by: str) -> list[str]:
    units = _some(units_of(order, entered), _("Name a piece that comes back."))
    Return.objects.announce(order, units, reason=entered["reason"] or REASON)
    number = sum(number for _line, number in units)
    announced = ngettext("%(n)d piece is to come back.", "%(n)d pieces are to come back.", number)
    return [announced % {"n": number}, _("Its money goes back when it has arrived.")]


def receive(return_: Return, entered: Entered, by: str) -> list[str]:
    order = return_.order
    came = [Came(line, number, entered["restock"]) for line, number in units_of(order, entered)]
    amount = _amount(order, entered, "amount", most=order.refundable, least=0)
    shipping = _amount(order, entered, "shipping", most=order.shipping_refundable) or 0
    return_.receive(came, amount=amount, shipping=shipping)
    give_back(return_.refund)
    here = sum(each.quantity for each in came)
    figures = {"n": here, "m": here if entered["restock"] else 0}
    return [_("%(n)d here, %(m)d to be sold again.") % figures]


def cancel_return(return_: Return, entered: Entered, by: str) -> None:
    return_.cancel()


def pieces(target: Order | Return, entered: Entered) -> Entered:
    """What the form holds, its numbers of pieces in words under one name."""
    order = target if isinstance(target, Order) else target.order
    pieces = ", ".join(f"{line.sku} × {number}" for line, number in units_of(order, entered))
    others = {name: value for name, value in entered.items() if not name.startswith("line_")}
    return {"pieces": pieces} | others


def _some(units: Any, otherwise: str) -> Any:
    if not units:
        raise invalid(("/lines", otherwise))
    return units


def _amount(order: Order, entered: Entered, name: str, *, most: int, least: int = 1) -> int | None:
    """Minor units of the amount in that field; None of an empty one. Raises a 422 problem."""
    if not entered.get(name):
        return None
    try:
        amount = money.read(entered[name], order.currency)
    except ValueError as exc:
        raise invalid((f"/{name}", str(exc))) from None
    if not least <= amount <= most:
        limits = {
            "least": money.written(least, order.currency),
            "most": money.written(most, order.currency),
        }
        raise invalid((f"/{name}", _("It must be from %(least)s to %(most)s.") % limits))
    return amount
