"""Whom an order is for, where it goes and what is noted of it."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from orders.inputs.shape import Shape
from values.addresses import mailable
from values.countries import COUNTRIES
from values.identity import Plain
from values.texts import AnyText, Line, Matching, Name

EMAIL_MAX_CHARS = 320
PHONE_MAX_CHARS = 40
CUSTOMER_ID_MAX_CHARS = 255
NOTE_MAX_CHARS = 2000
TAGS_MAX = 10  # of an order
TAG_MAX_CHARS = 40
POSTAL_CODE = re.compile(r"(?:[A-Za-z0-9]+(?:[ -][A-Za-z0-9]+)*)?")


def _known_country(code: str) -> str:
    if code and code not in COUNTRIES:
        raise PydanticCustomError("country", "must be an ISO 3166-1 code of two letters like JP")
    return code


def _each_once(tags: list[str]) -> list[str]:
    if len(set(tags)) < len(tags):
        raise PydanticCustomError("tags", "must not hold a tag twice")
    return tags


def _mailable(address: str) -> str:
    try:
        mailable(address)
    except ValueError:
        raise PydanticCustomError("email", "must be an e-mail address") from None
    return address


def names_and_values(schema: dict[str, Any]) -> None:
    """pydantic describes names that match a pattern; here it is all names that have to."""
    [(pattern, values)] = schema.pop("patternProperties").items()
    schema.setdefault("propertyNames", {})["pattern"] = pattern
    schema["additionalProperties"] = values


Country = Annotated[
    str, AfterValidator(_known_country), Field(json_schema_extra={"enum": ["", *sorted(COUNTRIES)]})
]
Email = Annotated[
    str,
    Field(max_length=EMAIL_MAX_CHARS, json_schema_extra={"format": "email"}),
    AfterValidator(_mailable),
]
Metadata = Annotated[
    dict[
        Annotated[Line, Field(min_length=1, max_length=40)],
        Annotated[AnyText, Field(max_length=500)],
    ],
    Field(max_length=50, json_schema_extra=names_and_values),
]
Note = Annotated[AnyText, Field(max_length=NOTE_MAX_CHARS)]
Phone = Annotated[Line, Field(max_length=PHONE_MAX_CHARS)]
PostalCode = Annotated[
    str,
    Field(max_length=20),
    Matching(POSTAL_CODE, "must be letters and digits, like 150-0001 or SW1A 1AA"),
]
Tag = Annotated[str, Field(min_length=1, max_length=TAG_MAX_CHARS), Plain()]
Tags = Annotated[
    list[Tag],
    Field(max_length=TAGS_MAX, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_each_once),
]


class CustomerInput(Shape):
    name: Name | None = None
    phone: Phone | None = None
    external_id: (
        Annotated[str, Field(min_length=1, max_length=CUSTOMER_ID_MAX_CHARS), Plain()] | None
    ) = None


class AddressInput(Shape):
    """As much of it as its country has; a label has the members in the order of that country."""

    name: Name | None = None
    company: Name | None = None
    line1: Name | None = None
    line2: Name | None = None
    city: Name | None = None
    region: Name | None = None
    postal_code: PostalCode | None = None
    country: Country | None = None
    phone: Phone | None = None


class ParticularsInput(Shape):
    """Whom an order is for, where it goes and what is noted of it."""

    email: Email
    customer: CustomerInput | None = None
    shipping_address: AddressInput | None = None
    billing_address: AddressInput | None = None
    metadata: Metadata = Field(default_factory=dict)
    note: Note | None = None
    tags: Tags = Field(default_factory=list)


def _no_default_email(schema: dict[str, Any]) -> None:
    """An empty address is what is not named; it is none that could be sent."""
    del schema["properties"]["email"]["default"]


class OrderChange(ParticularsInput):
    """The body of PATCH /v1/orders/{id}: what is named takes the place of what was there, wholly;
    null empties it.
    """

    model_config = ConfigDict(json_schema_extra=_no_default_email)
    email: Email = ""
