"""What the shapes of inputs are made of. They are strict: a wrong type or an unknown field is
refused by name.
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from values.identity import Plain

AMOUNT_MAX = 10**12
SKU_MAX_CHARS = 255
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # nothing here is older
Amount = Annotated[
    int, Field(ge=0, le=AMOUNT_MAX, description="integer, in the currency's minor unit")
]
Sku = Annotated[str, Field(min_length=1, max_length=SKU_MAX_CHARS), Plain()]


class Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
