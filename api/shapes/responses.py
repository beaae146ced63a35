"""The shapes that the API answers with; what the shop itself is shown as stands in orders/snapshots.py."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from celery_ledger import State as JobState
from orders import snapshots

Money = Annotated[int, Field(description="integer, in the currency's minor unit")]


class Shown(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OrderPage(Shown):
    data: list[snapshots.Order]
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


class Fulfilments(Shown):
    data: list[snapshots.Fulfilment]


class Refunds(Shown):
    data: list[snapshots.Refund]


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
