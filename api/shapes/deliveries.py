"""The shapes that the API answers with about endpoints, and what was delivered to them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field


class Endpoint(BaseModel):
    id: UUID
    url: str
    events: list[str]
    headers: Annotated[dict[str, str], Field(description="of its owner's own")]
    payload: Annotated[
        Literal["full", "thin"],
        Field(description="thin: which order it is about, its version, and where it is read"),
    ]
    ordered: Annotated[
        bool,
        Field(
            description="true: of deliveries about one order, or one sku, none is tried while an "
            "older one waits"
        ),
    ]
    active: Annotated[bool, Field(description="false: it hears of nothing until a PATCH says true")]
    disabled_because: Annotated[
        Literal["gone", "failing", "asked"] | None,
        Field(
            description="gone: it answered 410; failing: nothing else came of its calls for five "
            "days; asked: by a PATCH"
        ),
    ]
    disabled_at: datetime | None
    failing_since: Annotated[
        datetime | None, Field(description="the first failure since a webhook last arrived")
    ]
    created_at: datetime
    public_keys: Annotated[
        list[str],
        Field(
            description="whpk_…, each of which verifies a `v1a` signature, the newest first; as a "
            "JWKS at /.well-known/webhooks/{id}/jwks.json"
        ),
    ]


class NewEndpoint(Endpoint):
    secret: Annotated[str, Field(description="whsec_…: shown here and never again")]


class EndpointList(BaseModel):
    data: list[Endpoint]


class Replay(BaseModel):
    deliveries: Annotated[int, Field(description="how many are sent again")]
    more: Annotated[
        bool, Field(description="whether the same call, made again, finds more than one call takes")
    ]


class EventOfDelivery(BaseModel):
    id: UUID
    type: Annotated[str, Field(examples=["order.confirmed"])]
    subject: Annotated[UUID, Field(description="whose life it belongs to: the order's id")]
    seq: Annotated[int, Field(description="in that life; an order's `version`")]
    at: datetime


class LastAnswer(BaseModel):
    ok: bool
    status: Annotated[int | None, Field(description="of the HTTP answer, if there was one")]
    said: str
    at: datetime


class Delivery(BaseModel):
    model_config = ConfigDict(extra="forbid", title="Delivery")
    id: Annotated[UUID, Field(description="the `webhook-id`, the same on every try")]
    event: EventOfDelivery
    state: Literal["waiting", "delivered", "failed"]
    tries: Annotated[int, Field(description="since it was sent, or last sent again")]
    last_answer: LastAnswer | None
    next_try_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None
    resent_at: Annotated[datetime | None, Field(description="when it was last asked for again")]


class AttemptOfDelivery(LastAnswer):
    duration_ms: Annotated[int | None, Field(description="of the whole call")]
    body: Annotated[
        str | None,
        Field(
            description=f"the first {settings.WEBHOOK_BODY_MAX_BYTES} bytes of the answer, as far "
            "as they came at once; what is no UTF-8 is replaced"
        ),
    ]
    request_headers: dict[str, str] | None


class DeliveryAndAttempts(Delivery):
    model_config = ConfigDict(extra="forbid", title="DeliveryAndAttempts")
    attempts: Annotated[
        list[AttemptOfDelivery],
        Field(description=f"newest first, the last {settings.DELIVERY_ATTEMPTS_SHOWN}"),
    ]


class DeliveryPage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    data: list[Delivery]
    next: Annotated[
        str | None, Field(description="`after` of the following page; null on the last")
    ]
