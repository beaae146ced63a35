"""Requests about goods: those on hand, those that leave, and those that come back."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.shapes.requests.texts import Reason
from orders.inputs.order import LINES_MAX, UnitsInput
from orders.inputs.shape import AMOUNT_MAX, Amount, Shape
from orders.inputs.stock import StockSetting
from values.texts import Line

UnitsInputs = Annotated[list[UnitsInput], Field(min_length=1, max_length=LINES_MAX)]


class StockCount(StockSetting):
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


class FulfilmentRequest(Shape):
    """The body of POST /v1/orders/{id}/fulfilments, if there is one."""

    lines: UnitsInputs | None = None
    carrier: Annotated[Line, Field(max_length=100)] = ""
    tracking: Annotated[Line, Field(max_length=200)] = ""


NULL: dict[str, Any] = {"type": "null"}
WITHOUT_GOODS: dict[str, Any] = {"properties": {"restock": {"const": False}}}
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
            "if": {"properties": {"amount": NULL}},
            "then": {
                "if": {
                    "required": ["shipping"],
                    "properties": {"shipping": {"type": "integer"}, "lines": NULL},
                },
                "then": WITHOUT_GOODS,
            },
            "else": {
                "properties": {"shipping": NULL},
                "if": {"properties": {"amount": {"const": 0}}},
                "then": {
                    "required": ["lines", "restock"],
                    "properties": {
                        "lines": {"type": "array", "items": {}},
                        "restock": {"const": True},
                    },
                },
                "else": {"properties": {"lines": NULL, **WITHOUT_GOODS["properties"]}},
            },
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
