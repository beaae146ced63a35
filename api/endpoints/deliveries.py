"""/v1/webhook-endpoints/{id}/deliveries: what was sent to an endpoint; a test of it, and sending
again.
"""

from typing import Literal
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpResponse
from ninja import Body, Router, Status

from api.auth import AuthenticatedRequest
from api.conventions.paging import AfterId, Limit, id_of
from api.endpoints.webhook_endpoints import READS, WRITES
from api.own import own_endpoint
from api.shapes.headers import LOCATION, scoped
from api.shapes.requests.webhooks import ReplayRequest
from api.shapes.responses import webhooks as shapes
from notifications import interventions
from notifications.models import Delivery

router = Router(tags=["webhooks"])


@router.post(
    "/{uuid:endpoint_id}/test",
    summary="Send an endpoint a test",
    response={202: shapes.Delivery},
    openapi_extra=scoped(WRITES, headers={202: LOCATION}),
)
def test_endpoint(
    request: AuthenticatedRequest, endpoint_id: UUID, response: HttpResponse
) -> Status[shapes.Delivery]:
    """A signed `webhook.test`, tried once and at once. While one is under way, it is the answer to
    a further call.
    """
    own_endpoint(request, endpoint_id)
    with transaction.atomic():
        delivery = interventions.test(endpoint_id)
    response["Location"] = f"/v1/webhook-endpoints/{endpoint_id}/deliveries/{delivery.pk}"
    delivery = Delivery.objects.of_endpoint(endpoint_id).get(pk=delivery.pk)
    return Status(202, shapes.Delivery.of(delivery))


@router.post(
    "/{uuid:endpoint_id}/replay",
    summary="Send again what failed",
    response={202: shapes.Replay},
    openapi_extra=scoped(WRITES),
)
def replay_deliveries(
    request: AuthenticatedRequest, endpoint_id: UUID, body: Body[ReplayRequest]
) -> Status[shapes.Replay]:
    """Under the same `webhook-id` as before, in the room that other work leaves. Asking twice sends
    nothing twice.
    """
    own_endpoint(request, endpoint_id)
    everything = body.state == "all"
    with transaction.atomic():
        count, more = interventions.replay(endpoint_id, since=body.since, everything=everything)
    return Status(202, shapes.Replay(deliveries=count, more=more))


@router.get(
    "/{uuid:endpoint_id}/deliveries",
    summary="List the deliveries to an endpoint, newest first",
    response=shapes.DeliveryPage,
    openapi_extra=scoped(READS),
)
def list_deliveries(
    request: AuthenticatedRequest,
    endpoint_id: UUID,
    state: Literal["waiting", "delivered", "failed"] | None = None,
    limit: Limit = 20,
    after: AfterId | None = None,
) -> shapes.DeliveryPage:
    """`next` of a page is the `after` of the following one; null on the last."""
    own_endpoint(request, endpoint_id)
    deliveries = Delivery.objects.of_endpoint(endpoint_id)
    if state is not None:
        deliveries = deliveries.filter(state=state)
    if after is not None:
        deliveries = deliveries.filter(pk__lt=after)
    return shapes.DeliveryPage.of(deliveries, shapes.Delivery.of, limit=limit, cursor=id_of)


@router.get(
    "/{uuid:endpoint_id}/deliveries/{uuid:delivery_id}",
    summary="Read a delivery, with each try of it",
    response=shapes.DeliveryAndAttempts,
    openapi_extra=scoped(READS),
)
def read_delivery(
    request: AuthenticatedRequest, endpoint_id: UUID, delivery_id: UUID
) -> shapes.DeliveryAndAttempts:
    own_endpoint(request, endpoint_id)
    delivery = Delivery.objects.of_endpoint(endpoint_id).filter(pk=delivery_id).first()
    if delivery is None:
        raise Http404
    return shapes.DeliveryAndAttempts.of(delivery)
