"""What a client sets of a sku's stock: one by one, or in the rows of a file."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from orders.inputs.shape import AMOUNT_MAX, Shape, Sku
from values.texts import Name

Count = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]


class StockSetting(Shape):
    """What is set of a sku. A field that is not sent stays as it is; a new sku has its default."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})
    on_hand: Count = 0
    name: Name | None = None
    counted: Annotated[
        bool, Field(description="false: nobody counts it, and any number can be ordered")
    ] = True
    backorder_limit: Annotated[
        Count, Field(description="units that may be ordered beyond what is on hand")
    ] = 0
    low_at: Annotated[
        Count | None,
        Field(description="the event stock.low is told when no more are left; null: never"),
    ] = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("empty", "must say something: on_hand, for one")
        return self


class StockInput(StockSetting):
    """A row of a file."""

    sku: Sku
