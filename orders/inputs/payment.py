"""How an order is paid."""

import re
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from orders.inputs.shape import Shape
from values.texts import Matching

ATTEMPTS_MAX = 10  # cards that may be tried for an order
TOKEN = re.compile(r"[\x21-\x7e]+")
Token = Annotated[
    str,
    Field(min_length=1, max_length=200),
    Matching(TOKEN, "must be printable ASCII without spaces"),
]


class PaymentInput(Shape):
    """By card, with the provider's token for it, or elsewhere, where no provider is asked."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"method": {"const": "card"}}},
            "then": {"required": ["token"], "properties": {"token": {"type": "string"}}},
            "else": {"properties": {"token": {"type": "null"}, "attempts": {"const": 1}}},
        }
    )
    method: Literal["card", "manual", "cod", "bank_transfer"] = "card"
    token: Token | None = None
    attempts: Annotated[
        int,
        Field(
            ge=1,
            le=ATTEMPTS_MAX,
            description=(
                "cards that may be tried: with more than one the goods of a declined order are "
                "kept for as long as any others, for `POST …/payments`"
            ),
        ),
    ] = 1

    @model_validator(mode="after")
    def _charges_a_card_only(self) -> Self:
        if self.method == "card":
            if self.token is None:
                raise PydanticCustomError("token", "is missing")
        elif self.token is not None:
            raise PydanticCustomError("token", "goes with the method card only")
        elif self.attempts > 1:
            raise PydanticCustomError("attempts", "goes with the method card only")
        return self
