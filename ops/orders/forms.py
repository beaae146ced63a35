"""What a verb asks of whoever does it: as few fields as it needs, the likeliest answer in each."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy
from pydantic import TypeAdapter, ValidationError

from orders.models import Order
from orders.models.placed.line import Units
from values.texts import Line

LINE: TypeAdapter[str] = TypeAdapter(Line)


class LineField(forms.CharField):
    """One line of text, by the rule of the API; or nothing."""

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        try:
            return LINE.validate_python(text) if text else ""
        except ValidationError as exc:
            raise forms.ValidationError([error["msg"] for error in exc.errors()]) from None


class VerbForm(forms.Form):
    """A verb that needs no more than a yes."""

    def __init__(self, order: Order, data: Any = None) -> None:
        super().__init__(data)
        self.order = order

    def first_answers(self) -> dict[str, Any]:
        """What it says as long as nobody has changed it."""
        first: dict[str, Any] = {}
        for name, field in self.fields.items():
            choices = getattr(field, "choices", None)
            first[name] = choices[0][0] if choices else field.initial or field.to_python("")
        return first


class HoldForm(VerbForm):
    reason = forms.ChoiceField(
        label=gettext_lazy("Why"),
        choices=[
            ("requested", gettext_lazy("Somebody asked for it")),
            ("address_unclear", gettext_lazy("The address is unclear (the customer is told)")),
            ("delayed", gettext_lazy("It takes longer (the customer is told)")),
        ],
    )


class CancelForm(VerbForm):
    reason = forms.ChoiceField(
        label=gettext_lazy("Why"),
        choices=[
            ("requested_by_customer", gettext_lazy("The customer asked for it")),
            ("staff", gettext_lazy("The shop's own decision")),
        ],
    )


class PaidForm(VerbForm):
    reference = LineField(
        label=gettext_lazy("Reference, as it stands on the statement"),
        required=False,
        max_length=200,
    )


class OfLines(VerbForm):
    """With a number for each line of the order: how many pieces of it."""

    def __init__(self, order: Order, data: Any = None) -> None:
        super().__init__(order, data)
        for line in order.own_lines:
            if most := self.most(line):
                self.fields[f"line_{line.position}"] = forms.IntegerField(
                    label=f"{line.title} (≤ {most})",
                    required=False,
                    min_value=0,
                    max_value=most,
                    initial=self.at_first(line),
                )

    def most(self, line: Any) -> int:
        raise NotImplementedError

    def at_first(self, line: Any) -> int:
        raise NotImplementedError


class FulfilForm(OfLines):
    carrier = LineField(label=gettext_lazy("Carrier"), required=False, max_length=100)
    tracking = LineField(label=gettext_lazy("Tracking number"), required=False, max_length=200)

    def most(self, line: Any) -> int:
        return int(line.open)

    at_first = most


class RefundForm(OfLines):
    amount = LineField(
        label=gettext_lazy("Amount, or nothing for all that is left of what is named below"),
        required=False,
        max_length=20,
    )
    restock = forms.BooleanField(
        label=gettext_lazy("These pieces come back into stock"), required=False
    )

    def most(self, line: Any) -> int:
        return int(line.quantity)

    def at_first(self, line: Any) -> int:
        return 0


def units_of(order: Order, said: Any) -> Units:
    """The lines of which it names any pieces."""
    found = [(line, said.get(f"line_{line.position}") or 0) for line in order.own_lines]
    return [(line, number) for line, number in found if number]
