"""/v1/webhook-endpoints: a client registers the URLs that hear of its events."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from ninja import Body, Router, Status

from api.auth import AuthenticatedRequest
from api.own import own_endpoint
from api.shapes.headers import scoped
from api.shapes.requests.webhooks import EndpointChange, EndpointRequest, RotationRequest
from api.shapes.responses import webhooks as shapes
from notifications.interventions import put_in_order
from notifications.models import Endpoint
from notifications.tasks import call_up
from values.refused import Refused

router = Router(tags=["webhooks"])


READS, WRITES = "webhooks:read", "webhooks:write"
ROTATION = RotationRequest()  # what a request without a body says


@router.post(
    "",
    summary="Register an endpoint",
    response={201: shapes.NewEndpoint},
    openapi_extra=scoped(WRITES, conflict="The client has as many endpoints as it may have."),
)
def create_endpoint(
    request: AuthenticatedRequest, body: Body[EndpointRequest]
) -> Status[shapes.NewEndpoint]:
    """The secret is shown here and never again."""
    endpoint = Endpoint.objects.register(request.auth.client_id, **body.model_dump())
    if endpoint is None:
        detail = f"A client may have {settings.WEBHOOK_ENDPOINTS_PER_CLIENT} endpoints."
        raise Refused("too-many-endpoints", detail)
    return Status(201, shapes.NewEndpoint.of(endpoint))


@router.get(
    "", summary="List the endpoints", response=shapes.EndpointList, openapi_extra=scoped(READS)
)
def list_endpoints(request: AuthenticatedRequest) -> shapes.EndpointList:
    owner = request.auth.client_id
    rows = Endpoint.objects.filter(owner=owner, active=True).order_by("pk")[
        : settings.WEBHOOK_ENDPOINTS_PER_CLIENT
    ]
    return shapes.EndpointList(data=[shapes.Endpoint.of(endpoint) for endpoint in rows])


@router.get(
    "/{uuid:endpoint_id}",
    summary="Read an endpoint",
    response=shapes.Endpoint,
    openapi_extra=scoped(READS),
)
def read_endpoint(request: AuthenticatedRequest, endpoint_id: UUID) -> shapes.Endpoint:
    return shapes.Endpoint.of(own_endpoint(request, endpoint_id))


@router.patch(
    "/{uuid:endpoint_id}",
    summary="Change an endpoint",
    response=shapes.Endpoint,
    openapi_extra=scoped(WRITES),
)
def change_endpoint(
    request: AuthenticatedRequest, endpoint_id: UUID, change: Body[EndpointChange]
) -> shapes.Endpoint:
    """What waits for a server in trouble goes to the new `url` at once. An endpoint that is
    disabled hears again with a new `url`, or `active` true; with `active` false it is disabled.
    What waits already soon comes in order when `ordered` becomes true, and what was held back for
    that comes when it becomes false.
    """
    own_endpoint(request, endpoint_id)
    with transaction.atomic():
        endpoint = Endpoint.objects.locked(endpoint_id)
        has_moved = change.url not in (None, endpoint.url)
        was_ordered = endpoint.ordered
        _set(endpoint, change)
        _open_or_close(endpoint, change, has_moved=has_moved)
        if endpoint.ordered and not was_ordered:
            put_in_order(endpoint.pk)
        elif was_ordered and not endpoint.ordered:
            call_up(endpoint.pk)
    return shapes.Endpoint.of(own_endpoint(request, endpoint_id))


def _set(endpoint: Endpoint, change: EndpointChange) -> None:
    """What it names, but for whether the endpoint is active."""
    columns = change.model_dump(exclude_none=True, exclude={"active"})
    if change.events:
        columns["listens_since"] = Now()
    for name, value in columns.items():
        setattr(endpoint, name, value)
    endpoint.save(update_fields=list(columns))


def _open_or_close(endpoint: Endpoint, change: EndpointChange, *, has_moved: bool) -> None:
    """Disable it, or let it hear again; what waits for it learns of either."""
    if change.active is False:
        is_another = Endpoint.objects.disable(endpoint.pk, because=Endpoint.Because.ASKED)
    elif has_moved or change.active:
        is_another = Endpoint.objects.forgive(endpoint.pk)
    else:
        is_another = False
    if is_another:
        call_up(endpoint.pk)


@router.delete(
    "/{uuid:endpoint_id}",
    summary="Remove an endpoint",
    response={204: None},
    openapi_extra=scoped(WRITES),
)
def delete_endpoint(request: AuthenticatedRequest, endpoint_id: UUID) -> Status[None]:
    """It hears of nothing any more; what it has heard stays on record."""
    endpoint = own_endpoint(request, endpoint_id)
    endpoint.active = False
    endpoint.save(update_fields=["active"])
    return Status(204, None)


@router.post(
    "/{uuid:endpoint_id}/rotate-secret",
    summary="Give an endpoint a new secret",
    response=shapes.NewEndpoint,
    openapi_extra=scoped(
        WRITES, conflict="As many secrets sign for this endpoint as may at a time."
    ),
)
def rotate_secret(
    request: AuthenticatedRequest, endpoint_id: UUID, body: Body[RotationRequest] = ROTATION
) -> shapes.NewEndpoint:
    """The new secret is shown here and never again. Both sign, one signature each, until the old
    one's time is over.
    """
    own_endpoint(request, endpoint_id)
    with transaction.atomic():
        endpoint = Endpoint.objects.locked(endpoint_id)
        if not endpoint.rotate(overlap=timedelta(seconds=body.overlap_s)):
            detail = (
                f"{settings.WEBHOOK_SECRETS_MAX} secrets sign already. "
                "Wait, or end the old ones with overlap_s 0."
            )
            raise Refused("too-many-secrets", detail)
    return shapes.NewEndpoint.of(endpoint)
