"""What is answered about a client's shop."""

from typing import Annotated, Self

from pydantic import Field

from api.shapes.responses.answer import Exactly
from notifications import models


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

    @classmethod
    def of(cls, shop: models.Shop) -> Self:
        """As `ShopQuerySet.of` reads it; a text that nobody has set is null."""
        unset = {name: None for name in cls.model_fields if getattr(shop, name, None) == ""}
        return cls.from_row(shop, **unset, of_the_installation=shop.lent)
