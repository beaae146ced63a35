"""What is answered about orders, beside the order itself."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field

from api.shapes.responses.answer import Exactly, Page
from notifications.models import Event
from orders import snapshots


class OrderPage(Page[snapshots.Order]):
    pass


class OrderEvent(Exactly):
    seq: Annotated[int, Field(description="the order's `version` as the event left it")]
    type: Annotated[str, Field(examples=["order.confirmed"])]
    at: datetime
    data: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> Self:
        return cls.from_row(event, type=event.kind)


class Timeline(Page[OrderEvent]):
    pass


class Fulfilments(Exactly):
    data: list[snapshots.Fulfilment]


class Refunds(Exactly):
    data: list[snapshots.Refund]


class Returns(Exactly):
    data: list[snapshots.Return]
