"""The bodies and filters that the endpoints take. Strict: what is wrong is refused by name."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from django.conf import settings
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from notifications import webhooks
from notifications.events import KINDS
from orders.inputs.order import EXTERNAL_ID_MAX_CHARS, LINES_MAX, UnitsInput
from orders.inputs.particulars import EMAIL_MAX_CHARS, PHONE_MAX_CHARS, Email, ParticularsInput
from orders.inputs.payment import Token
from orders.inputs.shape import AMOUNT_MAX, SKU_MAX_CHARS, Amount, Shape
from orders.inputs.stock import StockSaid
from orders.states import FulfilmentState, HeldFor, PaymentState, State
from values.texts import AnyText, Line, Matching

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # nothing here is older
LATEST = datetime(9999, 12, 31, tzinfo=UTC)
Reason = Annotated[Line, Field(min_length=1, max_length=200)]


def _moment(text: Any) -> datetime:
    """A moment with its offset, written out, and no earlier than anything here."""
    try:
        if not (isinstance(text, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]", text)):
            raise ValueError(text)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
        return max(_in_utc(moment), EPOCH)
    except ValueError:
        raise PydanticCustomError(
            "moment", "must be a moment like 2026-01-31T09:00:00+09:00"
        ) from None


def _in_utc(moment: datetime) -> datetime:
    """Its offset may lead out of the years that there are here: then it is the first or last."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return EPOCH if moment.year < EPOCH.year else LATEST


def _with_its_plus(text: str) -> str:
    """A query reads the plus of an offset as a space."""
    return re.sub(r"(?<=\d) (?=\d\d:?\d\d$)", "+", text) if re.match("[^ ]+[Tt]", text) else text


Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]


QueryMoment = Annotated[Moment, BeforeValidator(_with_its_plus)]
SearchText = Annotated[Line, Field(min_length=1, max_length=SKU_MAX_CHARS)]
A_DIGIT = re.compile(r"[^\d\x00]*\d[^\x00]*")
DIGITS = Matching(A_DIGIT, "must hold a digit")
ELSE_WHERE_IT_GOES = "of the customer, or where none was said, of the shipping address"


class OrderFilter(BaseModel):
    """What narrows a list of orders."""

    state: State | None = None
    payment_state: PaymentState | None = None
    fulfilment_state: FulfilmentState | None = None
    held: bool | None = None
    number: SearchText | None = Field(None, description="with or without its dash, in any case")
    external_id: Annotated[AnyText, Field(max_length=EXTERNAL_ID_MAX_CHARS)] | None = None
    email: Annotated[AnyText, Field(max_length=EMAIL_MAX_CHARS)] | None = Field(
        None, description="whatever its case"
    )
    customer_name: SearchText | None = Field(
        None, description=f"all of it, whatever its case, width and spaces; {ELSE_WHERE_IT_GOES}"
    )
    phone: Annotated[str, Field(max_length=PHONE_MAX_CHARS), DIGITS] | None = Field(
        None, description=f"its last eight digits; {ELSE_WHERE_IT_GOES}"
    )
    sku: SearchText | None = Field(None, description="of any line")
    tag: SearchText | None = None
    created_after: QueryMoment | None = None
    created_before: QueryMoment | None = None
    updated_after: QueryMoment | None = None
    updated_before: QueryMoment | None = None

    @property
    def is_by_change(self) -> bool:
        return self.updated_after is not None or self.updated_before is not None


class StockCount(StockSaid):
    """The body of PUT /v1/stock/{sku}."""

    expected: Annotated[
        int | None,
        Field(
            ge=-AMOUNT_MAX,
            le=AMOUNT_MAX,
            description="set nothing unless this is on hand now: a 412 otherwise",
        ),
    ] = None


class StockChange(Shape):
    """The body of PATCH /v1/stock/{sku}."""

    delta: Annotated[int, Field(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]
    reason: Reason


class OrderChange(ParticularsInput):
    """The body of PATCH /v1/orders/{id}: what is named takes the place of what was there, wholly;
    null empties it.
    """

    email: Email = ""


class Person(Shape):
    """The body of POST /v1/customers/erase and /export."""

    email: Email


class CancelRequest(Shape):
    """The body of POST /v1/orders/{id}/cancel, if there is one."""

    reason: Reason = "requested"


def _of_a_person(reason: str) -> str:
    """The machine releases what it holds itself, and people know by its words what to do."""
    if reason in HeldFor.values:
        raise PydanticCustomError("reason", "is what the machine itself says; use another word")
    return reason


class HoldRequest(Shape):
    """The body of POST /v1/orders/{id}/hold, if there is one."""

    reason: Annotated[
        Reason,
        AfterValidator(_of_a_person),
        Field(json_schema_extra={"not": {"enum": HeldFor.values}}),
    ] = "requested"


UnitsInputs = Annotated[list[UnitsInput], Field(min_length=1, max_length=LINES_MAX)]


class PaymentRequest(Shape):
    """The body of POST /v1/orders/{id}/payments."""

    token: Token


class PaidRequest(Shape):
    """The body of POST /v1/orders/{id}/mark-paid, if there is one."""

    reference: Annotated[Line, Field(max_length=200)] = ""
    amount: (
        Annotated[
            int,
            Field(ge=0, le=AMOUNT_MAX, description="what has come; refused unless it is the total"),
        ]
        | None
    ) = None


class FulfilmentRequest(Shape):
    """The body of POST /v1/orders/{id}/fulfilments, if there is one."""

    lines: UnitsInputs | None = None
    carrier: Annotated[Line, Field(max_length=100)] = ""
    tracking: Annotated[Line, Field(max_length=200)] = ""


NULL: dict[str, Any] = {"type": "null"}
ShippingBack = Annotated[
    int, Field(ge=1, le=AMOUNT_MAX, description="so much of the shipping, its tax included")
]


class RefundRequest(Shape):
    """The body of POST /v1/orders/{id}/refunds: an amount, or lines, or so much of the shipping, or
    none of these for all that is left; `restock` takes the goods of lines back, with an amount of 0
    nothing but them.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"amount": NULL, "shipping": NULL}},
                {"properties": {"amount": NULL, "restock": {"const": False}}},
                {"properties": {"amount": NULL, "lines": {"type": "array"}}, "required": ["lines"]},
                {
                    "properties": {
                        "amount": {"minimum": 1},
                        "shipping": NULL,
                        "lines": NULL,
                        "restock": {"const": False},
                    }
                },
                {
                    "properties": {
                        "amount": {"const": 0},
                        "shipping": NULL,
                        "lines": {"type": "array"},
                        "restock": {"const": True},
                    },
                    "required": ["lines", "restock"],
                },
            ]
        }
    )
    amount: (
        Annotated[
            int,
            Field(
                ge=0,
                le=AMOUNT_MAX,
                description="0 goes with lines and restock: the goods come back, and no money does",
            ),
        ]
        | None
    ) = None
    lines: UnitsInputs | None = None
    shipping: ShippingBack | None = None
    reason: Reason
    restock: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.shipping is not None and self.amount is not None:
            raise PydanticCustomError("shipping", "goes with lines or alone, without an amount")
        if self.amount == 0:
            if self.lines is None or not self.restock:
                raise PydanticCustomError("amount", "0 goes with lines and restock")
        elif self.amount is not None and self.lines is not None:
            raise PydanticCustomError("amount", "goes without lines: either an amount or lines")
        elif self.restock and self.lines is None and (self.amount or self.shipping):
            raise PydanticCustomError(
                "restock", "goes with lines, or with all that is left, but not with an amount"
            )
        return self


class ReturnRequest(Shape):
    """The body of POST /v1/orders/{id}/returns, if there is one."""

    lines: UnitsInputs | None = None
    reason: Reason = "requested"


class ReceivedUnits(UnitsInput):
    restock: Annotated[bool, Field(description="whether they can be sold again")] = True


class ReceiveRequest(Shape):
    """The body of POST /v1/orders/{id}/returns/{id}/receive, if there is one. `amount`: of what the
    units come to, so much goes back; 0: nothing for now.
    """

    lines: Annotated[list[ReceivedUnits], Field(min_length=1, max_length=LINES_MAX)] | None = None
    amount: Amount | None = None
    shipping: ShippingBack | None = None


def _postable(url: str) -> str:
    if objection := webhooks.objection(url):
        raise PydanticCustomError("url", "{objection}", {"objection": objection})
    return url


def _known_kinds(kinds: list[str]) -> list[str]:
    for kind in kinds:
        if kind != "*" and kind not in KINDS:
            raise PydanticCustomError(
                "events",
                "{kind} is not an event; use * or one of {kinds}",
                {"kind": kind, "kinds": ", ".join(KINDS)},
            )
    return kinds


Url = Annotated[
    str,
    Field(
        max_length=2000, json_schema_extra={"pattern": f"^(?:{webhooks.url_pattern().pattern})$"}
    ),
    AfterValidator(_postable),
]
Kind = Annotated[str, Field(json_schema_extra={"enum": ["*", *KINDS]})]
Kinds = Annotated[
    list[Kind], Field(min_length=1, max_length=len(KINDS) + 1), AfterValidator(_known_kinds)
]


def _known_list(text: str) -> str:
    for kind in text.split(","):
        if kind not in KINDS:
            said = {"kind": kind, "kinds": ", ".join(KINDS)}
            raise PydanticCustomError("events", "{kind} is not an event; there are {kinds}", said)
    return text


A_KIND = f"(?:{'|'.join(map(re.escape, KINDS))})"
KindList = Annotated[
    str,
    Field(
        max_length=1000,
        json_schema_extra={"pattern": f"^{A_KIND}(?:,{A_KIND})*$"},
        description="of the events, with commas between several; all unless told",
    ),
    AfterValidator(_known_list),
]


class EventFilter(BaseModel):
    """What narrows a list of events."""

    type: KindList | None = None
    since: QueryMoment | None = Field(None, description="recorded then or later")

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(self.type.split(","))) if self.type else []


OURS = (  # of HTTP itself, of a connection, and what a webhook has of its own
    "webhook-|content-|proxy-|sec-",
    "host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|date|user-agent|"
    "accept-encoding|traceparent|tracestate",
)
LENGTH = settings.WEBHOOK_HEADER_NAME_MAX_CHARS - 1  # after the first
HEADER_NAME = re.compile(f"(?!(?:{OURS[0]})|(?:{OURS[1]})$)[a-z0-9][a-z0-9_-]{{0,{LENGTH}}}")
HEADER_VALUE = re.compile("[!-~](?:[ -~]*[!-~])?")
NAME_SAID = "must be lower case letters, digits, _ and -, and none of HTTP's or a webhook's own"
HeaderName = Annotated[str, Matching(HEADER_NAME, NAME_SAID)]
HeaderValue = Annotated[
    str,
    Field(max_length=settings.WEBHOOK_HEADER_VALUE_MAX_CHARS),
    Matching(HEADER_VALUE, "must be printable ASCII, with no space at its ends"),
]
Headers = Annotated[
    dict[HeaderName, HeaderValue],
    Field(
        max_length=settings.WEBHOOK_HEADERS_MAX,
        description="that each call bears besides",
        json_schema_extra={"additionalProperties": False},
    ),
]


class EndpointRequest(Shape):
    url: Url
    events: Kinds
    headers: Headers = {}


class EndpointChange(Shape):
    url: Url | None = None
    events: Kinds | None = None
    headers: Headers | None = None
    active: bool | None = None


OVERLAP_MAX_S = int(settings.WEBHOOK_SECRET_OVERLAP.total_seconds())


class RotationRequest(Shape):
    """The body of POST /v1/webhook-endpoints/{id}/rotate-secret, if there is one."""

    overlap_s: Annotated[
        int,
        Field(
            ge=0,
            le=OVERLAP_MAX_S,
            description="how long the old secret signs beside the new one; 0: it leaked",
        ),
    ] = OVERLAP_MAX_S


class ReplayRequest(Shape):
    """The body of POST /v1/webhook-endpoints/{id}/replay."""

    since: Annotated[Moment, Field(description="of the events' deliveries")]
    state: Annotated[Literal["failed", "all"], Field(description="all: also what has arrived")] = (
        "failed"
    )
