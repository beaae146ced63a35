"""Forms of verbs that move goods and money: how many pieces of each line, and how much."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from ops.orders.forms.verb import LineField, VerbForm
from orders.models import Order, Return
from orders.models.placed.line import OrderLine, Units

AMOUNT_MAX_CHARS = 20
REASON_MAX_CHARS = 200


class OfLines(VerbForm):
    """A form with a number for each line of the order: how many pieces of it."""

    def __init__(self, target: Any, data: Any = None) -> None:
        super().__init__(target, data)
        for line in self.order.own_lines:
            if most := self.most(line):
                self.fields[f"line_{line.position}"] = forms.IntegerField(
                    label=f"{line.title} (≤ {most})",
                    required=False,
                    min_value=0,
                    max_value=most,
                    initial=self.at_first(line),
                )

    @property
    def order(self) -> Order:
        order: Order = self.target
        return order

    def most(self, line: OrderLine) -> int:
        raise NotImplementedError

    def at_first(self, line: OrderLine) -> int:
        return 0


class FulfilForm(OfLines):
    carrier = LineField(label=gettext_lazy("Carrier"), required=False, max_length=100)
    tracking = LineField(label=gettext_lazy("Tracking number"), required=False, max_length=200)

    def most(self, line: OrderLine) -> int:
        return line.open

    at_first = most


class WithdrawForm(OfLines):
    def most(self, line: OrderLine) -> int:
        return line.open


class WithMoney(OfLines):
    """A form also with what goes back of the shipping, where any is left to go back."""

    shipping = LineField(
        label=gettext_lazy("Of the shipping"), required=False, max_length=AMOUNT_MAX_CHARS
    )
    field_order = ("amount", "shipping", "restock")

    def __init__(self, target: Any, data: Any = None) -> None:
        super().__init__(target, data)
        if not self.order.shipping_refundable:
            del self.fields["shipping"]


class RefundForm(WithMoney):
    amount = LineField(
        label=gettext_lazy("Amount, or nothing for all that is left of what is named below"),
        required=False,
        max_length=AMOUNT_MAX_CHARS,
    )
    restock = forms.BooleanField(
        label=gettext_lazy("These pieces come back into stock"), required=False
    )

    def most(self, line: OrderLine) -> int:
        return line.quantity


class AnnounceForm(OfLines):
    reason = LineField(
        label=gettext_lazy("Why they come back"), required=False, max_length=REASON_MAX_CHARS
    )

    def most(self, line: OrderLine) -> int:
        return line.returnable

    at_first = most


class ReceiveForm(WithMoney):
    amount = LineField(
        label=gettext_lazy("Amount that goes back, or nothing for what the pieces come to"),
        required=False,
        max_length=AMOUNT_MAX_CHARS,
    )
    restock = forms.BooleanField(
        label=gettext_lazy("They can be sold again"), required=False, initial=True
    )

    @property
    def order(self) -> Order:
        return_: Return = self.target
        return return_.order

    def most(self, line: OrderLine) -> int:
        announced = {part["position"]: part["quantity"] for part in self.target.lines}
        return int(announced.get(line.position, 0))

    at_first = most


def units_of(order: Order, entered: Any) -> Units:
    """The lines of which the form names any pieces, each with how many."""
    units: Units = []
    for line in order.own_lines:
        if number := entered.get(f"line_{line.position}"):
            units.append((line, number))
    return units
