"""The shapes that the API answers with; what the shop itself is shown as stands in
orders/snapshots.py.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from celery_ledger import State as JobState
from orders import snapshots

Money = Annotated[int, Field(description="integer, in the currency's minor unit")]


class Exactly(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OrderPage(Exactly):
    data: list[snapshots.Order]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


class OrderEvent(Exactly):
    seq: int
    type: Annotated[str, Field(examples=["order.confirmed"])]
    at: datetime
    data: dict[str, Any]


class Timeline(Exactly):
    data: list[OrderEvent]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


class Fulfilments(Exactly):
    data: list[snapshots.Fulfilment]


class Refunds(Exactly):
    data: list[snapshots.Refund]


class Stock(Exactly):
    sku: str
    name: str
    on_hand: int
    reserved: int
    available: int


class StockList(Exactly):
    data: list[Stock]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


class Received(Exactly):
    received: Literal[True]


class ImportLinks(Exactly):
    self: str
    errors: str


class Import(Exactly):
    id: UUID
    state: Literal["running", "done"]
    total: Annotated[int, Field(description="orders in the file")]
    ok: Annotated[int, Field(description="orders that were placed, or had been before")]
    failed: int
    percent: int
    links: ImportLinks


class Computing(Exactly):
    state: Literal["computing"]


class Endpoint(BaseModel):
    id: UUID
    url: str
    events: list[str]
    created_at: datetime


class NewEndpoint(Endpoint):
    secret: Annotated[str, Field(description="whsec_…: shown here and never again")]


class EndpointList(BaseModel):
    data: list[Endpoint]


class Replay(BaseModel):
    deliveries: Annotated[int, Field(description="how many are sent again")]
    more: Annotated[
        bool, Field(description="whether the same call, made again, finds more than one call takes")
    ]


class EventOfDelivery(BaseModel):
    id: UUID
    type: Annotated[str, Field(examples=["order.confirmed"])]
    subject: Annotated[UUID, Field(description="whose life it belongs to: the order's id")]
    seq: int
    at: datetime


class LastAnswer(BaseModel):
    ok: bool
    status: Annotated[int | None, Field(description="of the HTTP answer, if there was one")]
    said: str
    at: datetime


class Delivery(BaseModel):
    model_config = ConfigDict(extra="forbid", title="Delivery")
    id: Annotated[UUID, Field(description="the `webhook-id`, the same on every try")]
    event: EventOfDelivery
    state: Literal["waiting", "delivered", "failed"]
    tries: Annotated[int, Field(description="since it was sent, or last sent again")]
    last_answer: LastAnswer | None
    next_try_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None
    resent_at: Annotated[datetime | None, Field(description="when it was last asked for again")]


class DeliveryPage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    data: list[Delivery]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


# Described on the spot: another room has a State too, and a description knows a name once.
JobStates = Annotated[JobState, WithJsonSchema({"type": "string", "enum": JobState.values})]


class Job(BaseModel):
    """A job, for the API's description; `shown` fills it."""

    model_config = ConfigDict(extra="forbid", title="Job")
    id: UUID
    task: str
    queue: str
    state: JobStates
    attempts: int
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None
    result: Any
    error: dict[str, str] | None


class JobPage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    data: list[Job]
    next: str | None
