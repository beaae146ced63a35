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
    seq: Annotated[int, Field(description="the order's `version` as the event left it")]
    type: Annotated[str, Field(examples=["order.confirmed"])]
    at: datetime
    data: dict[str, Any]


class Timeline(Exactly):
    data: list[OrderEvent]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


class ToldEvent(Exactly):
    id: Annotated[UUID, Field(description="`after` of whoever has it and asks for more")]
    type: Annotated[str, Field(examples=["order.confirmed"])]
    timestamp: Annotated[datetime, Field(description="when it happened")]
    data: Annotated[dict[str, Any], Field(description="as a webhook of this event has it")]


class EventPage(Exactly):
    data: list[ToldEvent]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


class Erasure(Exactly):
    id: UUID
    state: Literal["running", "done"]
    orders: Annotated[int, Field(description="that were erased so far")]
    created_at: datetime
    finished_at: datetime | None


class MailOfOrder(Exactly):
    event: Annotated[str, Field(examples=["order.confirmed"])]
    to: str
    state: Literal["waiting", "delivered", "failed"]
    created_at: datetime
    delivered_at: datetime | None


class Remark(Exactly):
    who: Annotated[str, Field(description="the login name of a member of staff")]
    text: str
    at: datetime


class KeptOrder(Exactly):
    order: snapshots.Order
    events: list[OrderEvent]
    mails: list[MailOfOrder]
    remarks: Annotated[list[Remark], Field(description="of the staff, on its page")]


class KeptOfPerson(Exactly):
    data: list[KeptOrder]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


class Fulfilments(Exactly):
    data: list[snapshots.Fulfilment]


class Refunds(Exactly):
    data: list[snapshots.Refund]


class Returns(Exactly):
    data: list[snapshots.Return]


class StockList(Exactly):
    data: list[snapshots.Stock]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


class StockMovements(Exactly):
    data: list[snapshots.StockMovement]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]


class StockFile(Exactly):
    rows: Annotated[int, Field(description="of the file; what they say is set")]


class Shop(Exactly):
    name: str
    logo_url: str | None
    reply_to: str | None
    contact: str | None
    imprint: str | None
    time_zone: str
    language: str
    reservation_minutes: int
    withdrawal_days: int
    of_the_installation: Annotated[
        list[str], Field(description="the names of what you leave to it")
    ]


class Received(Exactly):
    received: Literal[True]


class ImportLinks(Exactly):
    self: str
    errors: str


class Became(Exactly):
    confirmed: Annotated[int, Field(description="paid for; sent, perhaps, and refunded")]
    under_way: Annotated[int, Field(description="not decided yet")]
    held: Annotated[int, Field(description="wait for a person")]
    cancelled: Annotated[int, Field(description="by a person")]
    sold_out: int
    declined: Annotated[int, Field(description="the payment was")]
    expired: Annotated[int, Field(description="nobody paid in time")]
    refused: Annotated[int, Field(description="never an order")]


class Import(Exactly):
    id: UUID
    state: Literal["running", "done"]
    total: Annotated[int, Field(description="orders in the file")]
    ok: Annotated[
        int, Field(description="orders that are there, or on their way, as things are now")
    ]
    failed: Annotated[
        int, Field(description="orders that were refused, sold out, declined or never paid")
    ]
    became: Annotated[Became, Field(description="what became so far of those worked off")]
    percent: Annotated[int, Field(description="of the orders that are worked off")]
    links: ImportLinks


class TrialFault(Exactly):
    line: int
    external_id: str
    field: Annotated[str, Field(description="a column, or a JSON pointer; empty for all of it")]
    reason: str


class Trial(Exactly):
    dry_run: Literal[True]
    total: Annotated[int, Field(description="orders in the file")]
    ok: Annotated[int, Field(description="orders that an import would accept")]
    failed: int
    errors: list[TrialFault]
    errors_left_out: Annotated[int, Field(description="further ones; the first are enough to mend")]


class ExportLinks(Exactly):
    self: str
    files: Annotated[list[str], Field(description="once it is done; in this order")]


class Export(Exactly):
    id: UUID
    state: Literal["running", "done", "failed"]
    format: Literal["csv", "ndjson"]
    orders: Annotated[int, Field(description="that are written so far")]
    next: Annotated[
        str | None,
        Field(description="`after` of a following export, if there are more orders than one holds"),
    ]
    created_at: datetime
    finished_at: datetime | None
    forgotten_at: Annotated[datetime, Field(description="when its files are deleted")]
    links: ExportLinks


class Computing(Exactly):
    state: Literal["computing"]


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
