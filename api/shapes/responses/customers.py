"""What is answered about a person."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field

from api.shapes.responses.answer import Exactly, Page
from api.shapes.responses.orders import OrderEvent
from notifications import events
from notifications.models import Delivery
from orders import models, snapshots


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

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        return cls.from_row(delivery, event=delivery.event.kind, to=delivery.target)


class Remark(Exactly):
    who: Annotated[str, Field(description="the login name of a member of staff")]
    text: str
    at: datetime


class KeptOrder(Exactly):
    order: snapshots.Order
    events: list[OrderEvent]
    mails: list[MailOfOrder]
    remarks: Annotated[list[Remark], Field(description="of the staff, on its page")]

    @classmethod
    def of(cls, order: models.Order) -> Self:
        return cls(
            order=order.snapshot(),
            events=[OrderEvent.of(event) for event in events.timeline(order.pk)],
            mails=[MailOfOrder.of(mail) for mail in Delivery.objects.mails_about(order.pk)],
            remarks=[Remark.from_row(remark) for remark in order.remarks.order_by("pk")],
        )


class KeptOfPerson(Page[KeptOrder]):
    pass
