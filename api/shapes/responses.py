"""The shapes that the API answers with, for its description; what fills them are the models' snapshots."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from celery_ledger import State as JobState
from orders.states import FulfilmentState, PaymentState, State

Money = Annotated[int, Field(description="integer, in the currency's minor unit")]


class Shown(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OrderLine(Shown):
    sku: str
    name: str
    quantity: int
    unit_price: Money
    discount: Money
    tax: Money
    fulfilled: Annotated[int, Field(description="units that were sent")]
    withdrawn: Annotated[int, Field(description="units that will not be sent")]
    units_refunded: int
    refunded: Money


class Shipping(Shown):
    amount: Money
    tax: Money


class Links(Shown):
    self: str
    events: str
    status_page: Annotated[
        str, Field(description="the customer's page; knowing its address is the permission")
    ]


class Order(Shown):
    id: UUID
    number: Annotated[str, Field(description="for people", examples=["K7QM-3XH9"])]
    external_id: str | None
    state: State
    payment_state: PaymentState
    fulfilment_state: FulfilmentState
    held: Annotated[
        bool, Field(description="on the staff's desk: neither charged, sent nor expired meanwhile")
    ]
    hold_reason: str | None
    reason: Annotated[str | None, Field(description="why it was cancelled")]
    version: Annotated[int, Field(description="counts events; the ETag")]
    currency: str
    total: Money
    captured: Money
    refunded: Money
    refund_pending: Annotated[int, Field(description="promised, not given back yet")]
    email: str
    locale: str
    metadata: dict[str, str]
    lines: list[OrderLine]
    shipping: Shipping
    created_at: datetime
    expires_at: Annotated[
        datetime | None, Field(description="when goods that nobody has paid for go back")
    ]
    links: Links


class OrderPage(Shown):
    data: list[Order]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


class OrderEvent(Shown):
    seq: int
    type: Annotated[str, Field(examples=["order.confirmed"])]
    at: datetime
    data: dict[str, Any]


class Timeline(Shown):
    data: list[OrderEvent]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


class Units(Shown):
    sku: str
    quantity: int


class Fulfilment(Shown):
    id: UUID
    order_id: UUID
    lines: list[Units]
    carrier: str | None
    tracking: str | None
    created_at: datetime


class Fulfilments(Shown):
    data: list[Fulfilment]


class RefundLine(Units):
    position: int
    amount: Money


class Refund(Shown):
    id: UUID
    order_id: UUID
    state: Literal["pending", "succeeded", "failed"]
    amount: Money
    currency: str
    reason: str
    restock: bool
    lines: list[RefundLine]
    shipping: Annotated[int, Field(description="how much of the amount is for the shipping")]
    created_at: datetime


class Refunds(Shown):
    data: list[Refund]


class Stock(Shown):
    sku: str
    name: str
    on_hand: int
    reserved: int
    available: int


class StockList(Shown):
    data: list[Stock]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


class Received(Shown):
    received: Literal[True]


class ImportLinks(Shown):
    self: str
    errors: str


class Import(Shown):
    id: UUID
    state: Literal["running", "done"]
    total: Annotated[int, Field(description="orders in the file")]
    ok: Annotated[int, Field(description="orders that were placed, or had been before")]
    failed: int
    percent: int
    links: ImportLinks


class Moved(Shown):
    orders: int
    gross: Money
    refunds: Money
    net: Money


class Hour(Moved):
    hour: Annotated[datetime, Field(description="when it begins, in the shop's time zone")]


class Sold(Shown):
    sku: str
    name: str
    quantity: int
    amount: Money


class CurrencyFigures(Moved):
    currency: str
    by_hour: list[Hour]
    top_skus: list[Sold]


class Report(Shown):
    date: Annotated[str, Field(examples=["2026-11-24"])]
    time_zone: str
    final: Annotated[bool, Field(description="false while the day may still change")]
    as_of: datetime
    currencies: list[CurrencyFigures]


class Computing(Shown):
    state: Literal["computing"]


class ShownEndpoint(BaseModel):
    id: UUID
    url: str
    events: list[str]
    created_at: datetime


class NewEndpoint(ShownEndpoint):
    secret: Annotated[str, Field(description="whsec_…: shown here and never again")]


class EndpointList(BaseModel):
    data: list[ShownEndpoint]


class Replay(BaseModel):
    deliveries: Annotated[int, Field(description="how many are sent again")]
    more: Annotated[
        bool, Field(description="whether the same call, made again, finds more than one call takes")
    ]


class ShownEvent(BaseModel):
    id: UUID
    type: Annotated[str, Field(examples=["order.confirmed"])]
    subject: Annotated[UUID, Field(description="whose life it belongs to: the order's id")]
    seq: int
    at: datetime


class ShownAttempt(BaseModel):
    ok: bool
    status: Annotated[int | None, Field(description="of the HTTP answer, if there was one")]
    said: str
    at: datetime


class ShownDelivery(BaseModel):
    model_config = ConfigDict(extra="forbid", title="Delivery")
    id: Annotated[UUID, Field(description="the `webhook-id`, the same on every try")]
    event: ShownEvent
    state: Literal["waiting", "delivered", "failed"]
    tries: Annotated[int, Field(description="since it was sent, or last sent again")]
    last_answer: ShownAttempt | None
    next_try_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None
    resent_at: Annotated[datetime | None, Field(description="when it was last asked for again")]


class DeliveryPage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    data: list[ShownDelivery]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


# Described on the spot: another room has a State too, and a description knows a name once.
ShownState = Annotated[JobState, WithJsonSchema({"type": "string", "enum": JobState.values})]


class ShownJob(BaseModel):
    """A job, for the API's description; `shown` fills it."""

    model_config = ConfigDict(extra="forbid", title="Job")
    id: UUID
    task: str
    queue: str
    state: ShownState
    attempts: int
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None
    result: Any
    error: dict[str, str] | None


class JobPage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    data: list[ShownJob]
    next: str | None
