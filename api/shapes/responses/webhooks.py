"""What is answered about events, endpoints that hear of them, and what was delivered to these."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from django.conf import settings
from pydantic import Field

from api.shapes.responses.answer import Answer, Exactly, Page
from notifications import models, webhooks


class ToldEvent(Exactly):
    id: Annotated[UUID, Field(description="`after` of whoever has it and asks for more")]
    type: Annotated[str, Field(examples=["order.confirmed"])]
    timestamp: Annotated[datetime, Field(description="when it happened")]
    data: Annotated[dict[str, Any], Field(description="as a webhook of this event has it")]

    @classmethod
    def of(cls, event: models.Event) -> Self:
        return cls(id=event.pk, **webhooks.content(event))


class EventPage(Page[ToldEvent]):
    pass


class Endpoint(Answer):
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

    @classmethod
    def of(cls, endpoint: models.Endpoint) -> Self:
        return cls.from_row(
            endpoint,
            active=endpoint.disabled_at is None,
            disabled_because=endpoint.disabled_because or None,
            public_keys=[key.public for key in endpoint.keys],
        )


class NewEndpoint(Endpoint):
    secret: Annotated[str, Field(description="whsec_…: shown here and never again")]


class EndpointList(Answer):
    data: list[Endpoint]


class Replay(Answer):
    deliveries: Annotated[int, Field(description="how many are sent again")]
    more: Annotated[
        bool, Field(description="whether the same call, made again, finds more than one call takes")
    ]


class EventOfDelivery(Answer):
    id: UUID
    type: Annotated[str, Field(examples=["order.confirmed"])]
    subject: Annotated[UUID, Field(description="whose life it belongs to: the order's id")]
    seq: Annotated[int, Field(description="in that life; an order's `version`")]
    at: datetime

    @classmethod
    def of(cls, event: models.Event) -> Self:
        return cls.from_row(event, type=event.kind)


class LastAnswer(Answer):
    ok: bool
    status: Annotated[int | None, Field(description="of the HTTP answer, if there was one")]
    said: str
    at: datetime

    @classmethod
    def of(cls, attempt: models.Attempt) -> Self:
        return cls.from_row(attempt, said=attempt.answer)


class Delivery(Exactly):
    id: Annotated[UUID, Field(description="the `webhook-id`, the same on every try")]
    event: EventOfDelivery
    state: Literal["waiting", "delivered", "failed"]
    tries: Annotated[int, Field(description="since it was sent, or last sent again")]
    last_answer: LastAnswer | None
    next_try_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None
    resent_at: Annotated[datetime | None, Field(description="when it was last asked for again")]

    @classmethod
    def of(cls, delivery: Any) -> Self:
        """As `DeliveryQuerySet.of_endpoint` reads it."""
        last = next(iter(delivery.last_attempts), None)
        return cls.from_row(
            delivery,
            event=EventOfDelivery.of(delivery.event),
            last_answer=last and LastAnswer.of(last),
        )


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
    attempts: Annotated[
        list[AttemptOfDelivery],
        Field(description=f"newest first, the last {settings.DELIVERY_ATTEMPTS_SHOWN}"),
    ]

    @classmethod
    def of(cls, delivery: Any) -> Self:
        newest = delivery.attempts.order_by("-pk")[: settings.DELIVERY_ATTEMPTS_SHOWN]
        attempts = [AttemptOfDelivery.of(attempt) for attempt in newest]
        return cls(**dict(Delivery.of(delivery)), attempts=attempts)


class DeliveryPage(Page[Delivery]):
    pass
