"""Webhook endpoints: a client registers the URLs that hear of its events."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.http import Http404, HttpRequest
from ninja import Body, Router, Status
from ninja.errors import HttpError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from notifications import webhooks
from notifications.events import KINDS
from notifications.models import Endpoint
from notifications.tasks import call_up

router = Router(tags=["webhooks"])


def _postable(url: str) -> str:
    if objection := webhooks.objection(url):
        raise PydanticCustomError("url", "{objection}", {"objection": objection})
    return url


def _known_kinds(kinds: list[str]) -> list[str]:
    for kind in kinds:
        if kind != "*" and kind not in KINDS:
            raise PydanticCustomError(
                "events", "{kind} is not an event; use * or one of {kinds}", {"kind": kind, "kinds": ", ".join(KINDS)}
            )
    return kinds


Url = Annotated[
    str,
    Field(max_length=2000, json_schema_extra={"pattern": f"^(?:{webhooks.url_pattern().pattern})$"}),
    AfterValidator(_postable),
]
Kind = Annotated[str, Field(json_schema_extra={"enum": ["*", *KINDS]})]
Kinds = Annotated[list[Kind], Field(min_length=1, max_length=len(KINDS) + 1), AfterValidator(_known_kinds)]


class EndpointDraft(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    url: Url
    events: Kinds


class EndpointChange(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    url: Url | None = None
    events: Kinds | None = None


class ShownEndpoint(BaseModel):
    id: UUID
    url: str
    events: list[str]
    created_at: datetime


class NewEndpoint(ShownEndpoint):
    secret: Annotated[str, Field(description="whsec_…: shown here and never again")]


class EndpointList(BaseModel):
    data: list[ShownEndpoint]


READS, WRITES = {"x-scope": "webhooks:read"}, {"x-scope": "webhooks:write"}
TOO_MANY = {"responses": {409: {"description": "The client has as many endpoints as it may have."}}}


@router.post("", summary="Register an endpoint", response={201: NewEndpoint}, openapi_extra=WRITES | TOO_MANY)
def create_endpoint(request: HttpRequest, draft: Body[EndpointDraft]) -> Status[dict[str, Any]]:
    """The secret is shown here and never again."""
    endpoint = Endpoint.objects.register(owner_of(request), url=draft.url, events=draft.events)
    if endpoint is None:
        raise HttpError(409, f"A client may have {settings.WEBHOOK_ENDPOINTS_PER_CLIENT} endpoints.")
    return Status(201, {**shown(endpoint), "secret": endpoint.secret})


@router.get("", summary="List the endpoints", response=EndpointList, openapi_extra=READS)
def list_endpoints(request: HttpRequest) -> dict[str, Any]:
    owner = owner_of(request)
    rows = Endpoint.objects.filter(owner=owner, active=True).order_by("pk")[: settings.WEBHOOK_ENDPOINTS_PER_CLIENT]
    return {"data": [shown(endpoint) for endpoint in rows]}


@router.get("/{uuid:endpoint_id}", summary="Read an endpoint", response=ShownEndpoint, openapi_extra=READS)
def read_endpoint(request: HttpRequest, endpoint_id: UUID) -> dict[str, Any]:
    return shown(own_endpoint(owner_of(request), endpoint_id))


@router.patch("/{uuid:endpoint_id}", summary="Change an endpoint", response=ShownEndpoint, openapi_extra=WRITES)
def change_endpoint(request: HttpRequest, endpoint_id: UUID, change: Body[EndpointChange]) -> dict[str, Any]:
    """What waits for a server in trouble goes to the new `url` at once."""
    endpoint = own_endpoint(owner_of(request), endpoint_id)
    moved = change.url not in (None, endpoint.url)
    named: dict[str, Any] = change.model_dump(exclude_none=True)
    if change.events:
        named["listens_since"] = Now()
    for name, value in named.items():
        setattr(endpoint, name, value)
    with transaction.atomic():
        endpoint.save(update_fields=list(named))
        if moved and Endpoint.objects.forgive(endpoint.pk):
            call_up(endpoint.pk)
    return shown(endpoint)


@router.delete("/{uuid:endpoint_id}", summary="Remove an endpoint", response={204: None}, openapi_extra=WRITES)
def delete_endpoint(request: HttpRequest, endpoint_id: UUID) -> Status[None]:
    """It hears of nothing any more; what it has heard stays on record."""
    endpoint = own_endpoint(owner_of(request), endpoint_id)
    endpoint.active = False
    endpoint.save(update_fields=["active"])
    return Status(204, None)


def owner_of(request: HttpRequest) -> UUID:
    """Whose endpoints: the key is checked by the project (config.api), which hands it over as `request.auth`."""
    key: Any = request.auth  # type: ignore[attr-defined]
    owner: UUID = key.client_id
    return owner


def own_endpoint(owner: UUID, endpoint_id: UUID) -> Endpoint:
    endpoint = Endpoint.objects.filter(owner=owner, active=True, pk=endpoint_id).first()
    if endpoint is None:
        raise Http404
    return endpoint


def shown(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": str(endpoint.pk), "url": endpoint.url, "events": endpoint.events,
        "created_at": endpoint.created_at.isoformat(),
    }  # fmt: skip
