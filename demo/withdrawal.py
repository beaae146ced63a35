"""The page on which a customer withdraws from the contract or from a part of it: the statement, and
its confirmation.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from demo.order_page import masked, page_of
from orders.models import Order, may_be_withdrawn, may_be_withdrawn_in_part, withdraw, withdrawable
from orders.models.placed.line import Units
from orders.tasks import give_back
from values.refused import Refused
from values.texts import CONTROL

NAME_MAX_CHARS = 200
PIECES = "line_"  # before the position of the line of which a field holds the number
OVERTAKEN = gettext_lazy(
    "Meanwhile the order has changed, and nothing was withdrawn from. This is how it stands now."
)
REFUSED = gettext_lazy("This cannot be done on this page. Please write to us.")


class Pieces(forms.IntegerField):
    """A number of pieces of a line. Whatever is wrong with what was entered, one sentence says what
    may be.
    """

    def clean(self, value: Any) -> Any:
        try:
            return super().clean(value)
        except ValidationError:
            message = gettext_lazy("Enter a whole number from 0 to %(most)s.")
            raise ValidationError(message, params={"most": self.max_value}) from None


class Statement(forms.Form):
    """What a customer adds to what stands in the order: of which units they withdraw, where they
    may choose, and their name. One that is sent without numbers is of the whole.
    """

    seen = forms.CharField(  # what could be chosen of
        required=False, widget=forms.HiddenInput(attrs={"autocomplete": "off"})
    )
    name = forms.CharField(
        required=False,
        max_length=NAME_MAX_CHARS,
        label=gettext_lazy("Your name"),
        validators=[RegexValidator(CONTROL, inverse_match=True)],
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        error_messages=dict.fromkeys(
            ("max_length", "invalid", "null_characters_not_allowed"),
            gettext_lazy("Enter a name of one line, up to 200 characters."),
        ),
    )

    def __init__(self, order: Order, sent: Mapping[str, Any] | None = None) -> None:
        super().__init__(sent)
        self.order = order
        self.may_choose = may_be_withdrawn_in_part(order)
        self.chooses = sent is None or any(name.startswith(PIECES) for name in sent)
        self.left = withdrawable(order) if self.may_choose and self.chooses else []
        self.fields["seen"].initial = _written(_by_position(self.left))
        for line, most in self.left:
            self.fields[f"{PIECES}{line.position}"] = Pieces(
                label=f"{line.title} (≤ {most})", min_value=0, max_value=most, initial=most
            )

    @property
    def pieces(self) -> list[forms.BoundField]:
        return [self[f"{PIECES}{line.position}"] for line, _ in self.left]

    @property
    def is_overtaken(self) -> bool:
        """Whether it chooses of other units than there are now."""
        now = _written(_by_position(self.left))
        return self.chooses and not (self.may_choose and self.data.get("seen") == now)

    @property
    def was_counted(self) -> bool:
        """Whether it is the order's newest withdrawal, sent once more: it chooses the same units of
        those that there were before.
        """
        newest = _by_position(self.order.units_at(self.order.withdrawn_lines or []))
        before = _by_position(self.left) + newest
        if not newest or self.data.get("seen") != _written(before):
            return False
        chosen = {position: self.data.get(f"{PIECES}{position}") for position in before}
        return chosen == {position: str(newest[position]) for position in before}

    def clean(self) -> dict[str, Any]:
        if self.left and not self.errors and not self.units:
            raise ValidationError(gettext_lazy("Choose at least one piece."))
        return self.cleaned_data

    @property
    def units(self) -> Units | None:
        """The units that a valid one chooses; None for the whole."""
        if not self.left:
            return None
        chosen = [(line, self.cleaned_data[f"{PIECES}{line.position}"]) for line, _ in self.left]
        return [(line, number) for line, number in chosen if number]


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def withdrawal_page(request: HttpRequest, token: str) -> HttpResponse:
    """The statement; sent, it is the confirmation, and counts once. Knowing the token is the
    permission.
    """
    order = Order.objects.filter(public_token=token).first()
    if order is None:
        return render(request, "404.html", status=404)
    sent = request.POST if request.method == "POST" else None
    statement, status, trouble = _looked_at(order) if sent is None else _sent(order, sent)
    if status == 303:
        return HttpResponseRedirect(reverse("status_page", args=[token]), status=303)
    order = statement.order
    seen = {
        "order": order,
        "email": masked(order.email),
        "statement": statement,
        "is_open": may_be_withdrawn(order),
        "trouble": trouble,
    }
    return page_of(request, order, "demo/withdrawal.html", seen, status=status)


Answer = tuple[Statement, int, Promise | str]  # with its status, and a sentence about it


def _looked_at(order: Order) -> Answer:
    is_over = order.withdrawn_at and not may_be_withdrawn(order)
    return Statement(order), 303 if is_over else 200, ""


def _sent(order: Order, sent: Mapping[str, Any]) -> Answer:
    try:
        with transaction.atomic():
            return _counted(Order.objects.locked(order.pk), sent)
    except Refused:
        return Statement(order), 409, REFUSED


def _counted(order: Order, sent: Mapping[str, Any]) -> Answer:
    """A statement counts for the locked order if that may still be withdrawn from, and if there are
    the units that its page showed: otherwise a 409, or a 422 for what was entered.
    """
    statement = Statement(order, sent)
    if not may_be_withdrawn(order):
        return Statement(order), 303 if order.withdrawn_at else 409, ""
    if statement.was_counted:
        return statement, 303, ""
    if statement.is_overtaken:
        return Statement(order), 409, OVERTAKEN
    if not statement.is_valid():
        return statement, 422, ""
    give_back(withdraw(order, statement.units, name=statement.cleaned_data["name"]))
    return statement, 303, ""


def _by_position(units: Units) -> Counter[int]:
    return Counter({line.position: number for line, number in units})


def _written(units: Counter[int]) -> str:
    """0:2,3:1 for units by the position of their line."""
    return ",".join(f"{position}:{number}" for position, number in sorted(units.items()))
