"""The shapes that the API takes. Strict: a wrong type, an unknown field or a sum that is off is refused by name."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from orders.states import PaymentState, State
from values.money import CURRENCIES
from values.patterns import WITHOUT_NUL, Matching

AMOUNT_MAX = 10**12
LINES_MAX = 200  # of an order
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # nothing here is older
Amount = Annotated[int, Field(ge=0, le=AMOUNT_MAX, description="integer, in the currency's minor unit")]
Sku = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\x21-\x7e]+$")]
CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
BLANKS = r" \xa0\xad\u1680\u2000-\u200f\u202a-\u202f\u205f-\u206f\u3000\ufeff"
CONTROL = re.compile(f"[{CONTROLS}]")
ONE_LINE = re.compile(f"(?:[{BLANKS}]*[^{CONTROLS}{BLANKS}][^{CONTROLS}]*)?")


def _one_line(text: str) -> str:
    """For people to read: in a mail's subject, a CSV, a log, a label."""
    if CONTROL.search(text):
        raise PydanticCustomError("text", "must not hold line breaks or other control characters")
    return text


Line = Annotated[str, AfterValidator(_one_line), Matching(ONE_LINE, "must not be blank")]
Name = Annotated[Line, Field(max_length=200)]
Reason = Annotated[Line, Field(min_length=1, max_length=200)]
AnyText = Annotated[str, Matching(WITHOUT_NUL, "must not hold a NUL character")]
EXAMPLE: dict[str, Any] = {
    "external_id": "shop-1042", "currency": "JPY", "email": "hana@example.com", "locale": "ja",
    "lines": [{"sku": "SAKE-NIGIRI", "name": "鮭", "quantity": 2, "unit_price": 300, "tax": 60}],
    "shipping": {"amount": 0, "tax": 0}, "total": 660, "payment": {"token": "tok_ok"}, "metadata": {"table": "7"},
}  # fmt: skip
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"  # RFC 5322; what the mailer can write into an envelope
EMAIL = re.compile(rf"(?=[^@]{{1,64}}@){ATOM}(\.{ATOM})*@[^@\s\x00-\x1f\x7f<>,;:\"()\[\]\\]{{1,255}}(?<!\.)")


def _known_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise PydanticCustomError("currency", "must be an ISO 4217 code like JPY")
    return code


def _mailable(address: str) -> str:
    try:
        mailable = bool(EMAIL.fullmatch(address) and address.isprintable() and address.partition("@")[2].encode("idna"))
    except UnicodeError:
        mailable = False
    if not mailable:
        raise PydanticCustomError("email", "must be an e-mail address")
    return address


class Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class LineDraft(Shape):
    sku: Sku
    name: Name = ""
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]
    unit_price: Amount
    discount: Amount = 0
    tax: Amount = 0

    @property
    def amount(self) -> int:
        return self.quantity * self.unit_price - self.discount + self.tax

    @model_validator(mode="after")
    def _discount_fits(self) -> Self:
        if self.discount > self.quantity * self.unit_price:
            raise PydanticCustomError("discount", "discount is more than quantity × unit_price")
        return self


class ShippingDraft(Shape):
    amount: Amount = 0
    tax: Amount = 0


class PaymentDraft(Shape):
    token: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]


def _names_and_values(schema: dict[str, Any]) -> None:
    """pydantic describes names that match a pattern; here it is all names that have to."""
    [(pattern, values)] = schema.pop("patternProperties").items()
    schema["propertyNames"]["pattern"] = pattern
    schema["additionalProperties"] = values


class OrderDraft(Shape):
    """The body of POST /v1/orders."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    external_id: Annotated[Line, Field(min_length=1, max_length=200)] | None = None
    currency: Annotated[str, AfterValidator(_known_currency), Field(json_schema_extra={"enum": sorted(CURRENCIES)})]
    email: Annotated[str, Field(max_length=320, json_schema_extra={"format": "email"}), AfterValidator(_mailable)]
    locale: Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Za-z0-9]{2,8})*$", max_length=35)] = "en"
    lines: Annotated[list[LineDraft], Field(min_length=1, max_length=LINES_MAX)]
    shipping: ShippingDraft = Field(default_factory=ShippingDraft)
    total: Amount
    payment: PaymentDraft
    metadata: Annotated[
        dict[Annotated[Line, Field(min_length=1, max_length=40)], Annotated[AnyText, Field(max_length=500)]],
        Field(max_length=50, json_schema_extra=_names_and_values),
    ] = Field(default_factory=dict)

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


def _written_out(text: Any) -> Any:
    if not (isinstance(text, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]", text)):  # pydantic takes numbers of seconds too
        raise PydanticCustomError("moment", "must be a moment like 2026-01-31T09:00:00+09:00")
    return re.sub(r"(?<=\d) (?=\d\d:?\d\d$)", "+", text) if re.match("[^ ]+[Tt]", text) else text


def _in_calendar(moment: datetime) -> datetime:
    try:
        return max(moment.astimezone(UTC), EPOCH)
    except OverflowError:
        raise PydanticCustomError("moment", "is beyond the calendar") from None


class OrderFilter(BaseModel):
    """What narrows a list of orders."""

    state: State | None = None
    payment_state: PaymentState | None = None
    email: Annotated[AnyText, Field(max_length=320)] | None = None
    created_after: Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_calendar)] | None = None


class StockCount(Shape):
    """The body of PUT /v1/stock/{sku}."""

    on_hand: Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
    name: Name | None = None


class StockChange(Shape):
    """The body of PATCH /v1/stock/{sku}."""

    delta: Annotated[int, Field(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]
    reason: Reason


class CancelDraft(Shape):
    """The body of POST /v1/orders/{id}/cancel, if there is one."""

    reason: Reason = "requested"


class HoldDraft(Shape):
    """The body of POST /v1/orders/{id}/hold, if there is one."""

    reason: Reason = "requested"


class UnitsDraft(Shape):
    """So many units of a sku."""

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


def _each_once(lines: list[UnitsDraft]) -> list[UnitsDraft]:
    if len({line.sku for line in lines}) < len(lines):
        raise PydanticCustomError("units", "name each sku once")
    return lines


UnitsDrafts = Annotated[list[UnitsDraft], Field(min_length=1, max_length=200), AfterValidator(_each_once)]


class FulfilmentDraft(Shape):
    """The body of POST /v1/orders/{id}/fulfilments, if there is one."""

    lines: UnitsDrafts | None = None
    carrier: Annotated[Line, Field(max_length=100)] = ""
    tracking: Annotated[Line, Field(max_length=200)] = ""

    def wanted(self) -> dict[str, int] | None:
        return None if self.lines is None else {line.sku: line.quantity for line in self.lines}


class RefundDraft(Shape):
    """The body of POST /v1/orders/{id}/refunds: an amount, or lines, or neither for all that is left."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["amount"],
                "properties": {"amount": {"type": "integer"}},
                "anyOf": [
                    {"required": ["lines"], "properties": {"lines": {"type": "array"}}},
                    {"required": ["restock"], "properties": {"restock": {"const": True}}},
                ],
            }
        }
    )
    amount: Annotated[int, Field(ge=1, le=AMOUNT_MAX)] | None = None
    lines: UnitsDrafts | None = None
    reason: Reason
    restock: bool = False

    def wanted(self) -> dict[str, int] | None:
        return None if self.lines is None else {line.sku: line.quantity for line in self.lines}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.amount is not None and self.lines is not None:
            raise PydanticCustomError("amount", "goes without lines: either an amount or lines")
        if self.restock and self.amount is not None:
            raise PydanticCustomError("restock", "goes with lines, or with all that is left, but not with an amount")
        return self


def pointed(error: dict[str, Any], skip: int) -> tuple[str, str]:
    """A pydantic error as a pair of JSON pointer and message; `skip` leaves out where the body was found."""
    path = [str(step).replace("~", "~0").replace("/", "~1") for step in error["loc"][skip:] if step != "[key]"]
    if error["type"] in ("total", "discount", "amount", "restock"):
        path.append(error["type"])
    message = error["msg"].removeprefix(f"/{error['type']} ")
    return "".join(f"/{step}" for step in path), message
