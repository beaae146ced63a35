"""What a client does with an endpoint that it has registered: rotate its secret, test it, look on, send again."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from ninja import Body, Router, Status
from ninja.errors import HttpError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from jobs.paging import AfterId, Limit, id_of, page
from notifications import tasks
from notifications.api import READS, WRITES, NewEndpoint, own_endpoint, owner_of, shown
from notifications.models import Delivery, Endpoint

router = Router(tags=["webhooks"])

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # nothing here is older
OVERLAP_MAX_S = int(settings.WEBHOOK_SECRET_OVERLAP.total_seconds())
LOCATION = {202: {"headers": {"Location": {"description": "Where it is read.", "schema": {"type": "string"}}}}}
TOO_MANY_SECRETS = {409: {"description": "As many secrets sign for this endpoint as may at a time."}}


def _moment(text: Any) -> datetime:
    """A moment with its offset, written out, and no earlier than anything here."""
    try:
        if not (isinstance(text, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]", text)):
            raise ValueError(text)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
        return max(moment.astimezone(UTC), EPOCH)
    except (ValueError, OverflowError):
        raise PydanticCustomError("moment", "must be a moment like 2026-01-31T09:00:00+09:00") from None


class Draft(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class RotationDraft(Draft):
    """The body of POST /v1/webhook-endpoints/{id}/rotate-secret, if there is one."""

    overlap_s: Annotated[
        int, Field(ge=0, le=OVERLAP_MAX_S, description="how long the old secret signs beside the new one; 0: it leaked")
    ] = OVERLAP_MAX_S


class ReplayDraft(Draft):
    """The body of POST /v1/webhook-endpoints/{id}/replay."""

    since: Annotated[
        datetime, BeforeValidator(_moment),
        WithJsonSchema({"type": "string", "format": "date-time", "description": "of the events' deliveries"}),
    ]  # fmt: skip
    state: Annotated[Literal["failed", "all"], Field(description="all: also what has arrived")] = "failed"


class Replay(BaseModel):
    deliveries: Annotated[int, Field(description="how many are sent again")]
    more: Annotated[bool, Field(description="whether the same call, made again, finds more than one call takes")]


class ShownEvent(BaseModel):
    id: UUID
    type: Annotated[str, Field(examples=["order.confirmed"])]
    subject: Annotated[UUID, Field(description="whose life it belongs to: the order's id")]
    seq: int
    at: datetime


class ShownAttempt(BaseModel):
    ok: bool
    status: Annotated[int | None, Field(description="of the HTTP answer, if there was one")]
    said: str
    at: datetime


class ShownDelivery(BaseModel):
    model_config = ConfigDict(extra="forbid", title="Delivery")
    id: Annotated[UUID, Field(description="the `webhook-id`, the same on every try")]
    event: ShownEvent
    state: Literal["waiting", "delivered", "failed"]
    tries: Annotated[int, Field(description="since it was sent, or last sent again")]
    last_answer: ShownAttempt | None
    next_try_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None
    resent_at: Annotated[datetime | None, Field(description="when it was last asked for again")]


class DeliveryPage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    data: list[ShownDelivery]
    next: Annotated[str | None, Field(description="`after` of the following page; null on the last")]


ROTATION = RotationDraft()  # what a request without a body says


@router.post(
    "/{uuid:endpoint_id}/rotate-secret",
    summary="Give an endpoint a new secret",
    response=NewEndpoint,
    openapi_extra={**WRITES, "responses": TOO_MANY_SECRETS},
)
def rotate_secret(request: HttpRequest, endpoint_id: UUID, draft: Body[RotationDraft] = ROTATION) -> dict[str, Any]:
    """The new secret is shown here and never again. Both sign, one signature each, until the old one's time is over."""
    own_endpoint(owner_of(request), endpoint_id)
    with transaction.atomic():
        endpoint = Endpoint.objects.locked(endpoint_id)
        if not endpoint.rotate(overlap=timedelta(seconds=draft.overlap_s)):
            detail = f"{settings.WEBHOOK_SECRETS_MAX} secrets sign already. Wait, or end the old ones with overlap_s 0."
            raise HttpError(409, detail)
    return {**shown(endpoint), "secret": endpoint.secret}


@router.post(
    "/{uuid:endpoint_id}/test",
    summary="Send an endpoint a test",
    response={202: ShownDelivery},
    openapi_extra={**WRITES, "responses": LOCATION},
)
def test_endpoint(request: HttpRequest, endpoint_id: UUID, response: HttpResponse) -> Status[dict[str, Any]]:
    """A signed `webhook.test`, tried once and at once. While one is under way, it is the answer to a further call."""
    own_endpoint(owner_of(request), endpoint_id)
    with transaction.atomic():
        delivery = tasks.test(endpoint_id)
    response["Location"] = f"/v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery.pk}"
    return Status(202, _shown_delivery(Delivery.objects.shown(endpoint_id).get(pk=delivery.pk)))


@router.post(
    "/{uuid:endpoint_id}/replay", summary="Send again what failed", response={202: Replay}, openapi_extra=WRITES
)
def replay_deliveries(request: HttpRequest, endpoint_id: UUID, draft: Body[ReplayDraft]) -> Status[dict[str, Any]]:
    """Under the same `webhook-id` as before, in the room that other work leaves. Asking twice sends nothing twice."""
    own_endpoint(owner_of(request), endpoint_id)
    with transaction.atomic():
        count, more = tasks.replay(endpoint_id, since=draft.since, everything=draft.state == "all")
    return Status(202, {"deliveries": count, "more": more})


@router.get(
    "/{uuid:endpoint_id}/deliveries",
    summary="List the deliveries to an endpoint, newest first",
    response=DeliveryPage,
    openapi_extra=READS,
)
def list_deliveries(
    request: HttpRequest,
    endpoint_id: UUID,
    state: Literal["waiting", "delivered", "failed"] | None = None,
    limit: Limit = 20,
    after: AfterId | None = None,
) -> dict[str, Any]:
    """`next` of a page is the `after` of the following one; null on the last."""
    own_endpoint(owner_of(request), endpoint_id)
    deliveries = Delivery.objects.shown(endpoint_id)
    if state is not None:
        deliveries = deliveries.filter(state=state)
    if after is not None:
        deliveries = deliveries.filter(pk__lt=after)
    return page(deliveries, _shown_delivery, limit=limit, cursor=id_of)


@router.get(
    "/{uuid:endpoint_id}/deliveries/{uuid:delivery_id}",
    summary="Read a delivery",
    response=ShownDelivery,
    openapi_extra=READS,
)
def read_delivery(request: HttpRequest, endpoint_id: UUID, delivery_id: UUID) -> dict[str, Any]:
    own_endpoint(owner_of(request), endpoint_id)
    delivery = Delivery.objects.shown(endpoint_id).filter(pk=delivery_id).first()
    if delivery is None:
        raise Http404
    return _shown_delivery(delivery)


def _shown_delivery(delivery: Any) -> dict[str, Any]:
    """As `DeliveryQuerySet.shown` reads it."""
    event, last = delivery.event, next(iter(delivery.last_attempts), None)
    return {
        "id": delivery.pk, "state": delivery.state, "tries": delivery.tries, "next_try_at": delivery.next_try_at,
        "event": {"id": event.pk, "type": event.kind, "subject": event.subject, "seq": event.seq, "at": event.at},
        "last_answer": last and {"ok": last.ok, "status": last.status, "said": last.answer, "at": last.at},
        "created_at": delivery.created_at, "delivered_at": delivery.delivered_at, "resent_at": delivery.resent_at,
    }  # fmt: skip
