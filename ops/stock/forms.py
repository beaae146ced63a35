"""What is asked of whoever counts or describes goods, by the rules of the API."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ops.orders.forms.verb import LineField
from orders.inputs.shape import AMOUNT_MAX, SKU_MAX_CHARS
from orders.models import Stock
from values import identity

REASON_MAX_CHARS = 200
NAME = gettext_lazy("Name")
ON_HAND = gettext_lazy("On hand, as counted")


class CountField(forms.IntegerField):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{"min_value": 0, "max_value": AMOUNT_MAX, **options})


class StockForm(forms.Form):
    """A form about goods, filled in with them as they stand."""

    def __init__(self, stock: Stock, data: Any = None) -> None:
        super().__init__(data, initial=dict(stock.snapshot()))

    def so_far(self) -> dict[str, Any] | None:
        """What can be rehearsed; None as long as a field that it needs is empty or wrong."""
        return self.cleaned_data if self.is_valid() else None


class CountForm(StockForm):
    on_hand = CountField(label=ON_HAND)


class AdjustForm(StockForm):
    delta = CountField(label=gettext_lazy("More (5) or fewer (-5)"), min_value=-AMOUNT_MAX)
    reason = LineField(label=gettext_lazy("Why, for the stock's book"), max_length=REASON_MAX_CHARS)

    def clean_delta(self) -> int:
        if not (delta := int(self.cleaned_data["delta"])):
            raise forms.ValidationError(_("Say how many more or fewer."))
        return delta

    def so_far(self) -> dict[str, Any] | None:
        """What can be rehearsed; for that the reason may still be missing."""
        self.is_valid()
        cleaned = getattr(self, "cleaned_data", {})
        return {"reason": "", **cleaned} if "delta" in cleaned else None


class DescribeForm(StockForm):
    name = LineField(label=NAME, required=False, max_length=200)
    low_at = CountField(
        label=gettext_lazy("Low when no more than so many are free; nothing: never"), required=False
    )
    backorder_limit = CountField(
        label=gettext_lazy("So many may be ordered beyond what is on hand")
    )
    counted = forms.BooleanField(
        label=gettext_lazy("It is counted; otherwise any number can be ordered"), required=False
    )


class RemoveForm(StockForm):
    """A form without fields: a yes is enough."""

    def so_far(self) -> dict[str, Any] | None:
        return None if self.errors else {}


class NewForm(StockForm):
    sku = forms.CharField(label="SKU", max_length=SKU_MAX_CHARS, strip=False)
    name = LineField(label=NAME, required=False, max_length=200)
    on_hand = CountField(label=ON_HAND)

    def clean_sku(self) -> str:
        sku: str = self.cleaned_data["sku"]
        if objection := identity.objection(sku):
            raise forms.ValidationError(objection)
        return sku
