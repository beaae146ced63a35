"""What the outside is shown of an order and of the stock: by the API, in webhooks and in mails.
JSON, and nothing else.

These are the one description of it: mypy holds the models' `snapshot()` to them, and the API's
OpenAPI is made of them.
"""

from typing import Annotated, Literal, TypedDict

from pydantic import ConfigDict, Field, WithJsonSchema, with_config

from orders.states import FulfilmentState, PaymentMethod, PaymentState, ReturnState, State

Money = Annotated[int, Field(description="integer, in the currency's minor unit")]
Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]

exactly = with_config(ConfigDict(extra="forbid"))


@exactly
class OrderLine(TypedDict):
    position: Annotated[int, Field(description="from 0; names the line in fulfilments and refunds")]
    sku: str
    name: str
    quantity: int
    unit_price: Money
    discount: Money
    tax: Money
    fulfilled: Annotated[int, Field(description="units that were sent")]
    withdrawn: Annotated[int, Field(description="units that will not be sent")]
    announced: Annotated[int, Field(description="sent units that are announced to come back")]
    returned: Annotated[int, Field(description="sent units that came back")]
    units_refunded: int
    refunded: Money


@exactly
class Shipping(TypedDict):
    amount: Money
    tax: Money


@exactly
class Links(TypedDict):
    self: str
    events: str
    status_page: Annotated[
        str, Field(description="the customer's page; knowing its address is the permission")
    ]


@exactly
class Units(TypedDict):
    position: int
    sku: str
    quantity: int


@exactly
class Withdrawal(TypedDict):
    """Its customer has withdrawn from the contract or from a part of it, on their page: the newest
    time.
    """

    at: Moment
    name: Annotated[str | None, Field(description="by which they did, if they gave one")]
    lines: Annotated[
        list[Units] | None,
        Field(description="units that they withdrew from; null: all that were left"),
    ]


@exactly
class Customer(TypedDict):
    name: str | None
    phone: str | None
    external_id: Annotated[str | None, Field(description="the client's own id of the customer")]


@exactly
class Address(TypedDict):
    name: str | None
    company: str | None
    line1: str | None
    line2: str | None
    city: str | None
    region: Annotated[str | None, Field(description="prefecture, state, province")]
    postal_code: str | None
    country: Annotated[str | None, Field(description="ISO 3166-1 alpha-2", examples=["JP"])]
    phone: str | None


@exactly
class Particulars(TypedDict):
    email: str
    customer: Customer | None
    shipping_address: Address | None
    billing_address: Address | None
    metadata: dict[str, str]
    note: Annotated[str | None, Field(description="of the staff; no customer is shown it")]
    tags: list[str]


@exactly
class Order(Particulars):
    id: Id
    number: Annotated[str, Field(description="for people", examples=["K7QM-3XH9"])]
    external_id: str | None
    state: State
    payment_state: PaymentState
    fulfilment_state: FulfilmentState
    payment_method: PaymentMethod
    held: Annotated[
        bool,
        Field(
            description=(
                "on hold, for the staff to look at: neither charged, sent nor expired meanwhile"
            )
        ),
    ]
    hold_reason: str | None
    reason: Annotated[
        str | None, Field(description="why it was cancelled, or what of it was not sent")
    ]
    version: Annotated[int, Field(description="counts events; the ETag")]
    currency: str
    total: Money
    captured: Money
    refunded: Money
    refund_pending: Annotated[int, Field(description="promised, not given back yet")]
    locale: Annotated[str | None, Field(description="null: the shop's own language")]
    withdrawal: Withdrawal | None
    lines: list[OrderLine]
    shipping: Shipping
    created_at: Moment
    updated_at: Annotated[Moment, Field(description="when it got this version")]
    expires_at: Annotated[
        Moment | None, Field(description="when goods that nobody has paid for go back")
    ]
    links: Links


AttemptState = Literal["pending", "action_required", "succeeded", "failed", "withdrawn"]


@exactly
class Attempt(TypedDict):
    id: Id
    provider: Annotated[str, Field(examples=["stripe"], description="elsewhere: past all of them")]
    state: AttemptState
    amount: Money
    reason: Annotated[str | None, Field(description="why it failed, in the provider's word")]
    reference: Annotated[str | None, Field(description="the provider's id, or what you named")]
    created_at: Moment


@exactly
class Action(TypedDict):
    type: Annotated[str, Field(examples=["use_stripe_sdk", "redirect_to_url"])]
    url: Annotated[str | None, Field(description="the page on which the customer does it")]
    client_secret: str | None
    publishable_key: str | None


@exactly
class Payment(TypedDict):
    order_id: Id
    method: PaymentMethod
    state: PaymentState
    amount: Money
    currency: str
    captured: Money
    attempts_left: Annotated[int, Field(description="cards that may still be tried")]
    expires_at: Annotated[Moment | None, Field(description="until then it can be paid")]
    action: Annotated[
        Action | None, Field(description="what the customer has to do, while that is so")
    ]
    attempts: list[Attempt]


@exactly
class Fulfilment(TypedDict):
    id: Id
    order_id: Id
    lines: list[Units]
    carrier: str | None
    tracking: Annotated[str | None, Field(description="its number, or an address that shows it")]
    tracking_url: Annotated[
        str | None, Field(description="the page that shows it, where the carrier's is known")
    ]
    created_at: Moment
    cancelled_at: Annotated[Moment | None, Field(description="it was booked by mistake")]


@exactly
class RefundLine(TypedDict):
    position: int
    sku: str
    quantity: Annotated[int, Field(description="units whose money goes back")]
    restocked: Annotated[int, Field(description="units that are taken back")]
    amount: Money


@exactly
class Refund(TypedDict):
    id: Id
    order_id: Id
    state: Literal["pending", "succeeded", "failed"]
    amount: Money
    currency: str
    reason: str
    restock: bool
    lines: list[RefundLine]
    shipping: Annotated[int, Field(description="how much of the amount is for the shipping")]
    created_at: Moment


@exactly
class ReturnLine(TypedDict):
    position: int
    sku: str
    quantity: Annotated[int, Field(description="units that were announced")]
    received: Annotated[int, Field(description="units that arrived")]
    restocked: Annotated[int, Field(description="units of these that are sold again")]


@exactly
class Return(TypedDict):
    id: Id
    order_id: Id
    state: ReturnState
    reason: str
    lines: list[ReturnLine]
    refund: Refund | None
    created_at: Moment


class Ended(TypedDict):
    """A hold that is over."""

    reason: str


# What an event tells beside the order: the thing that it is about.
About = TypedDict(
    "About",
    {"fulfilment": Fulfilment, "refund": Refund, "return": Return, "hold": Ended},
    total=False,
)


@exactly
class Stock(TypedDict):
    sku: str
    name: str
    on_hand: Annotated[int, Field(description="less than 0: sent before it was counted in")]
    reserved: Annotated[int, Field(description="promised to orders, and not sent yet")]
    available: Annotated[int | None, Field(description="how many can be ordered; null: any number")]
    counted: bool
    backorder_limit: int
    low_at: int | None


@exactly
class StockMovement(TypedDict):
    id: int
    sku: str
    kind: Annotated[
        str,
        Field(
            json_schema_extra={
                "enum": [
                    "counted",
                    "adjusted",
                    "reserved",
                    "released",
                    "shipped",
                    "unshipped",
                    "returned",
                ]
            }
        ),
    ]
    on_hand_delta: int
    reserved_delta: int
    reason: Annotated[str | None, Field(description="why somebody adjusted or removed it")]
    order_id: Annotated[Id | None, Field(description="whose goods they are, if it is yours")]
    created_at: Moment
