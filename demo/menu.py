"""The menu of the demo shop, and the form that a visitor orders with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django import forms
from django.conf import settings
from django.forms import BoundField
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from demo.cards import cards
from orders.inputs.order import LineInput, OrderInput
from orders.inputs.particulars import EMAIL_MAX_CHARS
from orders.inputs.payment import PaymentInput
from orders.models import Stock
from values.addresses import in_ascii, mailable

CLIENT = "demo"
CURRENCY = "JPY"
QUANTITY_MAX = 20
EMAIL = "hana@example.com"
FEW = 5  # so many left, or fewer, and the menu says so


@dataclass(frozen=True, slots=True)
class Dish:
    sku: str
    ja: str
    en: str
    price: int  # yen, tax included
    on_hand: int  # when the shop is seeded

    @property
    def name(self) -> str:
        """Its name in the visitor's language."""
        return self.ja if get_language() == "ja" else self.en


MENU = (
    Dish("SAKE-NIGIRI", "鮭", "Salmon nigiri", 300, 500),
    Dish("MAGURO-NIGIRI", "鮪", "Tuna nigiri", 380, 500),
    Dish("TAMAGO-NIGIRI", "玉子", "Egg omelette nigiri", 180, 500),
    Dish("UNI-NIGIRI", "雲丹", "Sea urchin nigiri", 680, 3),
    Dish("NATTO-MAKI", "納豆巻", "Natto roll", 220, 500),
    Dish("UNAGI-NIGIRI", "鰻", "Eel nigiri", 520, 0),
)
SUGGESTED = {"SAKE-NIGIRI": 2, "MAGURO-NIGIRI": 1}


@dataclass(frozen=True, slots=True)
class Offer:
    """A dish as it stands on the menu right now. `left` is not promised: others order too."""

    dish: Dish
    left: int
    field: BoundField

    @property
    def is_few(self) -> bool:
        return 0 < self.left <= FEW

    @property
    def is_sold_out(self) -> bool:
        return self.left <= 0


def _mailable(address: str) -> None:
    try:
        mailable(address)
    except ValueError as exc:
        raise forms.ValidationError("", code="invalid") from exc


class OrderForm(forms.Form):
    """One quantity per dish, named by its sku. The prices are the menu's; the form has none."""

    form_id = forms.UUIDField(
        initial=uuid4,
        label=gettext_lazy("Form"),
        widget=forms.HiddenInput(attrs={"autocomplete": "off"}),
        error_messages=dict.fromkeys(
            ("required", "invalid"), gettext_lazy("Open the menu again to get a new one.")
        ),
    )
    email = forms.CharField(
        max_length=EMAIL_MAX_CHARS,
        validators=[_mailable],
        initial=EMAIL,
        label=gettext_lazy("E-mail"),
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
        error_messages=dict.fromkeys(
            ("required", "invalid"), gettext_lazy("Enter an e-mail address.")
        ),
    )
    token = forms.ChoiceField(
        required=False,
        label=gettext_lazy("Card"),
        choices=cards,
        widget=forms.RadioSelect,
        error_messages={"invalid_choice": gettext_lazy("Choose one of these cards.")},
    )

    is_flood = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["token"].initial = cards()[0][0]
        self.left = stock_left()
        for dish in MENU:
            self.fields[dish.sku] = quantity_field(dish, self.left[dish.sku])

    @property
    def offers(self) -> list[Offer]:
        return [Offer(dish, self.left[dish.sku], self[dish.sku]) for dish in MENU]

    @property
    def chosen(self) -> list[tuple[Dish, int]]:
        """The dishes with a valid quantity above zero."""
        quantities = [(dish, self.cleaned_data.get(dish.sku)) for dish in MENU]
        return [(dish, quantity) for dish, quantity in quantities if quantity]

    @property
    def total(self) -> int:
        return sum(quantity * dish.price for dish, quantity in self.chosen)

    @property
    def card(self) -> str:
        """The token of the chosen card, or else of the one that works."""
        return str(self.cleaned_data["token"] or self.fields["token"].initial)

    @property
    def external_id(self) -> str:
        """The same for a form, however often it is sent, so that it is one order."""
        return f"web-{self.cleaned_data['form_id']}"

    def clean(self) -> None:
        if not self.chosen and not any(dish.sku in self.errors for dish in MENU):
            self.add_error(None, _("Choose at least one dish."))

    def refuse_shortage(self) -> bool:
        """True when there is too little of something, which is then an error at its dish.

        Not part of `clean`: a form that took the last dish may be sent again, and leads to its
        order.
        """
        for dish, quantity in self.chosen:
            left = max(self.left[dish.sku], 0)
            if left and quantity > left:
                self.add_error(dish.sku, _("Only %(left)d left.") % {"left": left})
            elif quantity > left:
                self.add_error(dish.sku, _("Sold out."))
        return bool(self.errors)

    def refuse_flood(self, recent: Sequence[str]) -> None:
        """Refuse when too many orders came in the last hour, of all or of this address: the form is
        open to everybody, and its mails go to whomever it names. `recent`: their addresses.
        """
        own = mailbox(self.cleaned_data["email"])
        of_address = sum(mailbox(address) == own for address in recent)
        is_full = len(recent) >= settings.DEMO_ORDERS_PER_HOUR
        if is_full or of_address >= settings.DEMO_ORDERS_PER_ADDRESS:
            self.is_flood = True
            self.add_error(None, _("Many orders have come from this page. Try again in an hour."))

    def order_input(self) -> OrderInput:
        """The order that the API would have been sent. Raises pydantic's ValidationError."""
        return OrderInput(
            external_id=self.external_id,
            currency=CURRENCY,
            email=self.cleaned_data["email"],
            locale=get_language() or "en",
            lines=[
                LineInput(sku=dish.sku, name=dish.name, quantity=quantity, unit_price=dish.price)
                for dish, quantity in self.chosen
            ],
            total=self.total,
            payment=PaymentInput(token=self.card),
        )

    def refuse(self, errors: Iterable[tuple[str, str]]) -> None:
        """Put each refusal of the API, a JSON pointer and a message, at the field it is about."""
        skus = [dish.sku for dish, _quantity in self.chosen]
        for pointer, message in errors:
            match pointer.split("/")[1:]:
                case ["email"]:
                    self.add_error("email", _("Enter an e-mail address."))
                case ["lines", index, *_rest]:
                    self.add_error(skus[int(index)], message)
                case _anything_else:
                    self.add_error(None, message)

    def renew(self) -> None:
        """Let the same choice be sent again as another order."""
        self.data = {name: self.data.get(name) for name in self.data} | {"form_id": str(uuid4())}


def suggested(form_id: str) -> dict[str, str]:
    """The fields of a visitor who only presses the button."""
    quantities = {sku: str(quantity) for sku, quantity in SUGGESTED.items()}
    return {"form_id": form_id, "email": EMAIL, **quantities}


def mailbox(address: str) -> str:
    """One text for all addresses that surely lead to one reader. Takes an address that can be
    mailed.
    """
    name, _at, domain = address.lower().rpartition("@")
    return f"{name.partition('+')[0]}@{in_ascii(domain)}"


def stock_left() -> dict[str, int]:
    """What can still be promised of each dish; none of one that was never stocked."""
    rows = Stock.objects.there().filter(sku__in=[dish.sku for dish in MENU])
    left = {row.sku: QUANTITY_MAX if row.available is None else row.available for row in rows}
    return {dish.sku: 0 for dish in MENU} | left


def quantity_field(dish: Dish, left: int) -> forms.IntegerField:
    """The field of a dish. A sold out one is disabled in the browser alone: what a stale page still
    sends is refused and not dropped.
    """
    attributes: dict[str, Any] = {"inputmode": "numeric", "autocomplete": "off"}
    if left <= 0:
        attributes["disabled"] = True
    message = _("Enter a whole number from 0 to %(max)d.") % {"max": QUANTITY_MAX}
    return forms.IntegerField(
        required=False,
        label=dish.name,
        initial=min(SUGGESTED.get(dish.sku, 0), max(left, 0)),
        min_value=0,
        max_value=QUANTITY_MAX,
        widget=forms.NumberInput(attrs=attributes),
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), message),
    )
