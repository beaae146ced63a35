"""Requests about orders: what narrows a list of them, and what becomes of one."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from api.shapes.requests.texts import QueryMoment, Reason
from orders.inputs.order import EXTERNAL_ID_MAX_CHARS
from orders.inputs.particulars import EMAIL_MAX_CHARS, PHONE_MAX_CHARS, Email
from orders.inputs.payment import Token
from orders.inputs.shape import AMOUNT_MAX, SKU_MAX_CHARS, Shape
from orders.states import FulfilmentState, HeldFor, PaymentState, State
from values.texts import AnyText, Line, Matching

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
