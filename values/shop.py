"""What a shop is called and how it does business, and the one rule for each field: the environment
sets it for the installation, a row for one client.
"""

import re
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from values.addresses import mailable
from values.texts import AnyText, Line, Matching

LANGUAGES = ("en", "ja")  # in which there are texts
LANGUAGE = re.compile("|".join(LANGUAGES))
RESERVATION_MAX_MINUTES = 30 * 24 * 60
WITHDRAWAL_MAX_DAYS = 365
EMAIL_MAX_CHARS = 320
HTTPS_URL = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[!-~]*)?")
ZONE = re.compile(r"UTC|[A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+")


def _known_zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ValueError, OSError, KeyError):
        raise PydanticCustomError("zone", "must be a time zone like Europe/Berlin") from None


def _mailable(address: str) -> str:
    try:
        return mailable(address)
    except ValueError as exc:
        raise PydanticCustomError(
            "address", "must be an address: {why}", {"why": str(exc)}
        ) from exc


def _number(value: Any) -> Any:
    """A text of digits as a number; anything else as it is, to be refused by its type."""
    is_digits = isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value)
    return int(value) if is_digits else value


Text = Annotated[AnyText, Field(min_length=1)]
Minutes = Annotated[int, Field(ge=1, le=RESERVATION_MAX_MINUTES)]
Days = Annotated[int, Field(ge=0, le=WITHDRAWAL_MAX_DAYS)]
Typed = BeforeValidator(_number)


class ShopSaid(BaseModel):
    """What is not said stays as it is; null: as the installation has it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: Annotated[Line, Field(min_length=1, max_length=100)] | None = None
    logo_url: (
        Annotated[
            str, Field(max_length=2000), Matching(HTTPS_URL, "must be like https://HOST/logo.png")
        ]
        | None
    ) = None
    contact: Annotated[Text, Field(max_length=500)] | None = None
    reply_to: (
        Annotated[
            Line,
            Field(max_length=EMAIL_MAX_CHARS, json_schema_extra={"format": "email"}),
            AfterValidator(_mailable),
        ]
        | None
    ) = None  # to whom customers answer
    imprint: Annotated[Text, Field(max_length=4000)] | None = None
    time_zone: (
        Annotated[
            str,
            Matching(ZONE, "must be a time zone like Europe/Berlin"),
            AfterValidator(_known_zone),
        ]
        | None
    ) = None
    language: Annotated[str, Matching(LANGUAGE, f"must be {' or '.join(LANGUAGES)}")] | None = None
    reservation_minutes: Minutes | None = Field(None, description="for which goods are set aside")
    withdrawal_days: Days | None = Field(
        None, description="for which an order may be withdrawn from; 0: not at all"
    )


class ShopTyped(ShopSaid):
    """A shop as a person types it: a number is a text."""

    reservation_minutes: Annotated[Minutes, Typed] | None = None
    withdrawal_days: Annotated[Days, Typed] | None = None


def checked(field: str, text: str) -> Any:
    """The value of that field which this text is. Raises pydantic's ValidationError."""
    return getattr(ShopTyped.model_validate({field: text}), field)
