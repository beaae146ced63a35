"""The shapes that the API takes. Strict: a wrong type, an unknown field or a sum that is off is
refused by name.
"""

import re
from collections.abc import Container
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from values.addresses import mailable
from values.countries import COUNTRIES
from values.identity import Plain
from values.money import CURRENCIES
from values.strict_json import escaped
from values.texts import AnyText, Line, Matching, Name

AMOUNT_MAX = 10**12
LINES_MAX = 200  # of an order
ATTEMPTS_MAX = 10  # cards that may be tried for an order
QUANTITY_MAX = 1_000_000  # of a line
SKU_MAX_CHARS = 255
EXTERNAL_ID_MAX_CHARS = 200
EMAIL_MAX_CHARS = 320
PHONE_MAX_CHARS = 40
CUSTOMER_ID_MAX_CHARS = 255
NOTE_MAX_CHARS = 2000
TAGS_MAX = 10  # of an order
TAG_MAX_CHARS = 40
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # nothing here is older
Amount = Annotated[
    int, Field(ge=0, le=AMOUNT_MAX, description="integer, in the currency's minor unit")
]
Sku = Annotated[str, Field(min_length=1, max_length=SKU_MAX_CHARS), Plain()]
ExternalId = Annotated[str, Field(min_length=1, max_length=EXTERNAL_ID_MAX_CHARS), Plain()]
TOKEN = re.compile(r"[\x21-\x7e]+")
POSTAL_CODE = re.compile(r"(?:[A-Za-z0-9]+(?:[ -][A-Za-z0-9]+)*)?")
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


def _known_country(code: str) -> str:
    if code and code not in COUNTRIES:
        raise PydanticCustomError("country", "must be an ISO 3166-1 code of two letters like JP")
    return code


def _each_once(tags: list[str]) -> list[str]:
    if len(set(tags)) < len(tags):
        raise PydanticCustomError("tags", "must not hold a tag twice")
    return tags


def _known_locale(text: str | None) -> str:
    """A language is what somebody would like: one that cannot be is none, and refuses nothing."""
    language, *rest = (text or "").strip().replace("_", "-").split("-")
    locale = "-".join([language.lower(), *rest])
    return locale if len(locale) <= LOCALE_MAX_CHARS and LOCALE.fullmatch(locale) else ""


def _mailable(address: str) -> str:
    try:
        mailable(address)
    except ValueError:
        raise PydanticCustomError("email", "must be an e-mail address") from None
    return address


class Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


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
        """What became of it elsewhere, as columns."""
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
            "anyOf": [
                {"required": [name], "properties": {name: {"type": kind}}}
                for name, kind in (("position", "integer"), ("sku", "string"))
            ]
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


Token = Annotated[
    str,
    Field(min_length=1, max_length=200),
    Matching(TOKEN, "must be printable ASCII without spaces"),
]


class PaymentInput(Shape):
    """By card, with the provider's token for it, or elsewhere, where no provider is asked."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {
                    "properties": {"method": {"const": "card"}, "token": {"type": "string"}},
                    "required": ["token"],
                },
                {
                    "properties": {
                        "method": {"enum": ["manual", "cod", "bank_transfer"]},
                        "token": {"type": "null"},
                        "attempts": {"const": 1},
                    },
                    "required": ["method"],
                },
            ]
        }
    )
    method: Literal["card", "manual", "cod", "bank_transfer"] = "card"
    token: Token | None = None
    attempts: Annotated[
        int,
        Field(
            ge=1,
            le=ATTEMPTS_MAX,
            description=(
                "cards that may be tried: with more than one the goods of a declined order are "
                "kept for as long as any others, for `POST …/payments`"
            ),
        ),
    ] = 1

    @model_validator(mode="after")
    def _charges_a_card_only(self) -> Self:
        if self.method == "card":
            if self.token is None:
                raise PydanticCustomError("token", "is missing")
        elif self.token is not None:
            raise PydanticCustomError("token", "goes with the method card only")
        elif self.attempts > 1:
            raise PydanticCustomError("attempts", "goes with the method card only")
        return self


def _needs_payment_if_it_costs(schema: dict[str, Any]) -> None:
    schema["required"].remove("payment")
    schema["anyOf"] = [{"required": ["payment"]}, {"properties": {"total": {"const": 0}}}]
    schema["examples"] = [EXAMPLE]


def _names_and_values(schema: dict[str, Any]) -> None:
    """pydantic describes names that match a pattern; here it is all names that have to."""
    [(pattern, values)] = schema.pop("patternProperties").items()
    schema["propertyNames"]["pattern"] = pattern
    schema["additionalProperties"] = values


Country = Annotated[
    str, AfterValidator(_known_country), Field(json_schema_extra={"enum": ["", *sorted(COUNTRIES)]})
]
Email = Annotated[
    str,
    Field(max_length=EMAIL_MAX_CHARS, json_schema_extra={"format": "email"}),
    AfterValidator(_mailable),
]
Metadata = Annotated[
    dict[
        Annotated[Line, Field(min_length=1, max_length=40)],
        Annotated[AnyText, Field(max_length=500)],
    ],
    Field(max_length=50, json_schema_extra=_names_and_values),
]
Note = Annotated[AnyText, Field(max_length=NOTE_MAX_CHARS)]
Phone = Annotated[Line, Field(max_length=PHONE_MAX_CHARS)]
PostalCode = Annotated[
    str,
    Field(max_length=20),
    Matching(POSTAL_CODE, "must be letters and digits, like 150-0001 or SW1A 1AA"),
]
Tag = Annotated[str, Field(min_length=1, max_length=TAG_MAX_CHARS), Plain()]
Tags = Annotated[
    list[Tag],
    Field(max_length=TAGS_MAX, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_each_once),
]


class CustomerInput(Shape):
    name: Name | None = None
    phone: Phone | None = None
    external_id: (
        Annotated[str, Field(min_length=1, max_length=CUSTOMER_ID_MAX_CHARS), Plain()] | None
    ) = None


class AddressInput(Shape):
    """As much of it as its country has; a label has the members in the order of that country."""

    name: Name | None = None
    company: Name | None = None
    line1: Name | None = None
    line2: Name | None = None
    city: Name | None = None
    region: Name | None = None
    postal_code: PostalCode | None = None
    country: Country | None = None
    phone: Phone | None = None


class ParticularsInput(Shape):
    """Whom an order is for, where it goes and what is noted of it."""

    email: Email
    customer: CustomerInput | None = None
    shipping_address: AddressInput | None = None
    billing_address: AddressInput | None = None
    metadata: Metadata = Field(default_factory=dict)
    note: Note | None = None
    tags: Tags = Field(default_factory=list)


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
        """What is so when it is written down, as columns."""
        return {"units": sum(line.quantity for line in self.lines)}

    def unknown_skus(self, known: Container[str]) -> list[tuple[str, str]]:
        """A pair of JSON pointer and message for each line of a sku that is not known."""
        return [
            (f"/lines/{position}/sku", f"no such sku: {line.sku}")
            for position, line in enumerate(self.lines)
            if line.sku not in known
        ]

    @model_validator(mode="before")
    @classmethod
    def _nothing_to_pay(cls, said: Any) -> Any:
        """What costs nothing needs no payment."""
        free = isinstance(said, dict) and said.get("total") == 0 and "payment" not in said
        return {**said, "payment": {"method": "manual"}} if free else said

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        due = sum(line.amount for line in self.lines) + self.shipping.amount + self.shipping.tax
        if self.total != due:
            raise PydanticCustomError(
                "total",
                "/total is {total}, but the lines and the shipping add up to {due}",
                {"total": self.total, "due": due},
            )
        return self


# pydantic's kinds of errors in words of the sender, who may be a shopkeeper with a spreadsheet
SENTENCES = {
    "missing": "is missing",
    "extra_forbidden": "is no field that we know",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object with named fields",
    "model_type": "must be an object with named fields",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "string_too_long": "must be no longer than {max_length}",
    "too_long": "must be no longer than {max_length}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
}


def pointed(error: dict[str, Any], skip: int) -> tuple[str, str]:
    """A pydantic error as a pair of JSON pointer and message; `skip` leaves out where the body was
    found.
    """
    path = [escaped(str(step)) for step in error["loc"][skip:] if step != "[key]"]
    if error["type"] in ("total", "discount", "amount", "restock", "shipping", "token", "attempts"):
        path.append(error["type"])
    message = error["msg"].removeprefix(f"/{error['type']} ")
    if sentence := SENTENCES.get(error["type"]):
        message = sentence.format(**error.get("ctx", {}))
    return "".join(f"/{step}" for step in path), message
