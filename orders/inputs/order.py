"""An order as it is placed: a sum that is off is refused by name."""

import re
from collections.abc import Container
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from orders.inputs.particulars import ParticularsInput
from orders.inputs.payment import PaymentInput
from orders.inputs.shape import Amount, Shape, Sku
from values.identity import Plain
from values.money import CURRENCIES
from values.refused import Sentence
from values.texts import Name

LINES_MAX = 200  # of an order
QUANTITY_MAX = 1_000_000  # of a line
EXTERNAL_ID_MAX_CHARS = 200
ExternalId = Annotated[str, Field(min_length=1, max_length=EXTERNAL_ID_MAX_CHARS), Plain()]
LOCALE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
LOCALE_MAX_CHARS = 35
EXAMPLE: dict[str, Any] = {
    "external_id": "shop-1042",
    "currency": "JPY",
    "email": "hana@example.com",
    "customer": {"name": "佐藤 花", "phone": "090-1234-5678"},
    "shipping_address": {
        "name": "佐藤 花",
        "line1": "神南1-2-3",
        "city": "渋谷区",
        "region": "東京都",
        "postal_code": "150-0041",
        "country": "JP",
    },
    "locale": "ja",
    "lines": [{"sku": "SAKE-NIGIRI", "name": "鮭", "quantity": 2, "unit_price": 300, "tax": 60}],
    "shipping": {"amount": 0, "tax": 0},
    "total": 660,
    "payment": {"token": "tok_ok"},
    "metadata": {"table": "7"},
}


def _known_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise PydanticCustomError("currency", "must be an ISO 4217 code like JPY")
    return code


def _known_locale(text: str | None) -> str:
    """A language as BCP 47 writes it. Somebody would like it, no more: a text that can be none is
    empty here, and refuses nothing.
    """
    language, *rest = (text or "").strip().replace("_", "-").split("-")
    locale = "-".join([language.lower(), *rest])
    return locale if len(locale) <= LOCALE_MAX_CHARS and LOCALE.fullmatch(locale) else ""


class LineInput(Shape):
    sku: Sku
    name: Name = ""
    quantity: Annotated[int, Field(ge=1, le=QUANTITY_MAX)]
    unit_price: Amount
    discount: Amount = 0
    tax: Amount = 0

    @property
    def amount(self) -> int:
        return self.quantity * self.unit_price - self.discount + self.tax

    def so_far(self) -> dict[str, Any]:
        """The columns of what became of the line elsewhere."""
        return {}

    @model_validator(mode="after")
    def _discount_fits(self) -> Self:
        if self.discount > self.quantity * self.unit_price:
            raise PydanticCustomError("discount", "discount is more than quantity × unit_price")
        return self


class ShippingInput(Shape):
    amount: Amount = 0
    tax: Amount = 0


class UnitsInput(Shape):
    """So many units of a line of an order: by its position there, or by a sku that no other line
    has.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["position"], "properties": {"position": {"type": "integer"}}},
            "else": {"required": ["sku"], "properties": {"sku": {"type": "string"}}},
        }
    )
    position: (
        Annotated[
            int, Field(ge=0, lt=LINES_MAX, description="of the line, as the order shows it; from 0")
        ]
        | None
    ) = None
    sku: Sku | None = None
    quantity: Annotated[int, Field(ge=1, le=QUANTITY_MAX)]

    @model_validator(mode="after")
    def _names_a_line(self) -> Self:
        if self.position is None and self.sku is None:
            raise PydanticCustomError("units", "name the line by its position or by its sku")
        return self


def _needs_payment_if_it_costs(schema: dict[str, Any]) -> None:
    schema["required"].remove("payment")
    schema["if"] = {"properties": {"total": {"const": 0}}}
    schema["else"] = {"required": ["payment"]}
    schema["examples"] = [EXAMPLE]


class OrderInput(ParticularsInput):
    """The body of POST /v1/orders."""

    model_config = ConfigDict(json_schema_extra=_needs_payment_if_it_costs)
    external_id: ExternalId | None = None
    currency: Annotated[
        str, AfterValidator(_known_currency), Field(json_schema_extra={"enum": sorted(CURRENCIES)})
    ]
    locale: Annotated[
        str | None,
        AfterValidator(_known_locale),
        Field(description="like ja or en-GB; another is as good as none"),
    ] = "en"
    lines: Annotated[list[LineInput], Field(min_length=1, max_length=LINES_MAX)]
    shipping: ShippingInput = Field(default_factory=ShippingInput)
    total: Amount
    payment: PaymentInput

    @property
    def preferred_locale(self) -> str:
        """Empty for none: then the shop's own language is used."""
        return (self.locale or "") if "locale" in self.model_fields_set else ""

    def so_far(self) -> dict[str, Any]:
        """The columns of how things stand when the order is written down."""
        return {"units": sum(line.quantity for line in self.lines)}

    def unknown_skus(self, skus: Container[str]) -> list[tuple[str, str]]:
        """A pair of JSON pointer and message for each line whose sku is none of these."""
        return [
            (f"/lines/{position}/sku", Sentence("no such sku: %(sku)s", sku=line.sku))
            for position, line in enumerate(self.lines)
            if line.sku not in skus
        ]

    @model_validator(mode="before")
    @classmethod
    def _nothing_to_pay(cls, body: Any) -> Any:
        """An order that costs nothing needs no payment."""
        free = isinstance(body, dict) and body.get("total") == 0 and "payment" not in body
        return {**body, "payment": {"method": "manual"}} if free else body

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        due = sum(line.amount for line in self.lines) + self.shipping.amount + self.shipping.tax
        if self.total != due:
            raise PydanticCustomError(
                "total",
                "is {total}, but the lines and the shipping add up to {due}",
                {"total": self.total, "due": due},
            )
        return self
