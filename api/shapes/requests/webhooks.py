"""Requests about endpoints, and about what they hear."""

import re
from typing import Annotated, Literal

from django.conf import settings
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from api.shapes.requests.texts import Moment, QueryMoment
from notifications import webhooks
from notifications.events import KINDS
from orders.inputs.particulars import names_and_values
from orders.inputs.shape import Shape
from values.texts import Matching


def _postable(url: str) -> str:
    if objection := webhooks.objection(url):
        raise PydanticCustomError("url", "{objection}", {"objection": objection})
    return url


def _known_kinds(kinds: list[str]) -> list[str]:
    for kind in kinds:
        if kind != "*" and kind not in KINDS:
            raise PydanticCustomError(
                "events",
                "{kind} is not an event; use * or one of {kinds}",
                {"kind": kind, "kinds": ", ".join(KINDS)},
            )
    return kinds


Url = Annotated[
    str,
    Field(
        max_length=2000, json_schema_extra={"pattern": f"^(?:{webhooks.url_pattern().pattern})$"}
    ),
    AfterValidator(_postable),
]
Kind = Annotated[str, Field(json_schema_extra={"enum": ["*", *KINDS]})]
Kinds = Annotated[
    list[Kind], Field(min_length=1, max_length=len(KINDS) + 1), AfterValidator(_known_kinds)
]


def _known_list(text: str) -> str:
    for kind in text.split(","):
        if kind not in KINDS:
            words = {"kind": kind, "kinds": ", ".join(KINDS)}
            raise PydanticCustomError("events", "{kind} is not an event; there are {kinds}", words)
    return text


A_KIND = f"(?:{'|'.join(map(re.escape, KINDS))})"
KindList = Annotated[
    str,
    Field(
        max_length=1000,
        json_schema_extra={"pattern": f"^{A_KIND}(?:,{A_KIND})*$"},
        description="of the events, with commas between several; all unless told",
    ),
    AfterValidator(_known_list),
]


class EventFilter(BaseModel):
    """What narrows a list of events."""

    type: KindList | None = None
    since: QueryMoment | None = Field(None, description="recorded then or later")

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(self.type.split(","))) if self.type else []


OURS = (  # of HTTP itself, of a connection, and what a webhook has of its own
    "webhook-|content-|proxy-|sec-",
    "host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|date|user-agent|"
    "accept-encoding|traceparent|tracestate",
)
LENGTH = settings.WEBHOOK_HEADER_NAME_MAX_CHARS - 1  # after the first
HEADER_NAME = re.compile(f"(?!(?:{OURS[0]})|(?:{OURS[1]})$)[a-z0-9][a-z0-9_-]{{0,{LENGTH}}}")
HEADER_VALUE = re.compile("[!-~](?:[ -~]*[!-~])?")
NAME_SAID = "must be lower case letters, digits, _ and -, and none of HTTP's or a webhook's own"
HeaderName = Annotated[str, Matching(HEADER_NAME, NAME_SAID)]
HeaderValue = Annotated[
    str,
    Field(max_length=settings.WEBHOOK_HEADER_VALUE_MAX_CHARS),
    Matching(HEADER_VALUE, "must be printable ASCII, with no space at its ends"),
]
Headers = Annotated[
    dict[HeaderName, HeaderValue],
    Field(
        max_length=settings.WEBHOOK_HEADERS_MAX,
        description="that each call bears besides",
        json_schema_extra=names_and_values,
    ),
]


Payload = Annotated[
    Literal["full", "thin"],
    Field(
        description="thin: which order it is about, its version, and where it is read; it names "
        "nobody"
    ),
]
Ordered = Annotated[
    bool, Field(description="one after another what is about one order, or one sku, from now on")
]


class EndpointRequest(Shape):
    url: Url
    events: Kinds
    headers: Headers = {}
    payload: Payload = "full"
    ordered: Ordered = False


class EndpointChange(Shape):
    url: Url | None = None
    events: Kinds | None = None
    headers: Headers | None = None
    payload: Payload | None = None
    ordered: Ordered | None = None
    active: bool | None = None


OVERLAP_MAX_S = int(settings.WEBHOOK_SECRET_OVERLAP.total_seconds())


class RotationRequest(Shape):
    """The body of POST /v1/webhook-endpoints/{id}/rotate-secret, if there is one."""

    overlap_s: Annotated[
        int,
        Field(
            ge=0,
            le=OVERLAP_MAX_S,
            description="how long the old secret signs beside the new one; 0: it leaked",
        ),
    ] = OVERLAP_MAX_S


class ReplayRequest(Shape):
    """The body of POST /v1/webhook-endpoints/{id}/replay."""

    since: Annotated[Moment, Field(description="of the events' deliveries")]
    state: Annotated[Literal["failed", "all"], Field(description="all: also what has arrived")] = (
        "failed"
    )
