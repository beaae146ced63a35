"""What narrows the list of orders, as it stands in a link that can be sent to a colleague."""

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext_lazy

from ops.templatetags.words import word
from orders.inputs.particulars import TAG_MAX_CHARS
from orders.models import Client
from orders.states import FulfilmentState, PaymentState, State

ANY = [("", gettext_lazy("any"))]
SENT = {
    FulfilmentState.NONE: gettext_lazy("nothing sent"),
    FulfilmentState.PARTIAL: gettext_lazy("sent in part"),
    FulfilmentState.FULL: gettext_lazy("all sent"),
}
NARROWING = ("state", "payment_state", "fulfilment_state", "held", "tag")  # as the model has them
DAY = "%Y-%m-%d"
EARLIEST, LATEST = date(2000, 1, 1), date(2199, 12, 31)


class Held(forms.CheckboxInput):
    """A checkbox that `?held` without a value turns on, too."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> bool:
        return data.get(name, "false") not in ("false", "0", "no")


class Day(forms.DateField):
    def __init__(self, label: Any) -> None:
        widget = forms.DateInput(attrs={"type": "date"}, format=DAY)
        limits = [MinValueValidator(EARLIEST), MaxValueValidator(LATEST)]
        super().__init__(
            label=label, widget=widget, validators=limits, required=False, input_formats=[DAY]
        )


class Filter(forms.Form):
    state = forms.ChoiceField(
        label=gettext_lazy("State"),
        choices=[*ANY, *((state.value, word(state)) for state in State)],
        required=False,
    )
    payment_state = forms.ChoiceField(
        label=gettext_lazy("Payment"),
        choices=[*ANY, *((state.value, word(state)) for state in PaymentState)],
        required=False,
    )
    fulfilment_state = forms.ChoiceField(
        label=gettext_lazy("Sent"),
        choices=[*ANY, *((state.value, SENT[state]) for state in FulfilmentState)],
        required=False,
    )
    client = forms.ModelChoiceField(
        Client.objects.order_by("name"),
        label=gettext_lazy("Shop"),
        empty_label=gettext_lazy("any"),
        required=False,
    )
    tag = forms.CharField(label=gettext_lazy("Tag"), max_length=TAG_MAX_CHARS, required=False)
    placed_from = Day(gettext_lazy("Placed from"))
    placed_to = Day(gettext_lazy("Placed to"))
    held = forms.BooleanField(label=gettext_lazy("On hold"), widget=Held, required=False)
    q = forms.CharField(widget=forms.HiddenInput, required=False)
    before = forms.UUIDField(widget=forms.HiddenInput, required=False)

    def clean_q(self) -> str:
        term: str = self.cleaned_data["q"]
        return term[: settings.OPS_TERM_MAX]

    @property
    def term(self) -> str:
        return self.cleaned_data.get("q") or ""

    @property
    def filters(self) -> dict[str, Any]:
        """The filters as `Order.objects.narrowed` takes them."""
        cleaned = self.cleaned_data
        filters = {name: cleaned[name] for name in NARROWING if cleaned[name]}
        if begin := cleaned["placed_from"]:
            filters["created_after"] = _midnight(begin) - timedelta(microseconds=1)
        if end := cleaned["placed_to"]:
            filters["created_before"] = _midnight(end + timedelta(days=1))
        return filters

    @property
    def clients(self) -> list[Client]:
        one: Client | None = self.cleaned_data["client"]
        return [one] if one else list(Client.objects.all())

    @property
    def narrows(self) -> bool:
        return bool(self.filters or self.cleaned_data["client"])

    def link(self, **changes: Any) -> str:
        """The query of this filter with those values changed; empty ones are left out."""
        query = QueryDict(mutable=True)
        for name in self.fields:
            text = changes[name] if name in changes else self.data.get(name, "")
            if name == "held" and name not in changes:
                text = "true" if self.cleaned_data.get("held") else ""
            if text and (name != "before" or name in changes):
                query[name] = str(text)
        return query.urlencode()


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
