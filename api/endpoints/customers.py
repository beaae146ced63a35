"""/v1/customers: what is kept about a person, and forgetting it. The address stands in the body:
what stands in a query is logged by whatever is on the way.
"""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from ninja import Body, Router

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.paging import AfterId, Limit, id_of, page
from api.endpoints.ordering.orders import shown_event
from api.shapes import responses
from api.shapes.headers import LOCATION, described
from api.shapes.requests.orders import Person
from notifications import events
from notifications.models import Delivery
from orders.models import Erasure, Order
from orders.tasks import forget_person

router = Router(tags=["customers"])


@router.post(
    "/export",
    summary="Read what is kept about a person",
    response=responses.KeptOfPerson,
    openapi_extra=described("orders:read"),
)
def export_customer(
    request: AuthenticatedRequest,
    body: Body[Person],
    limit: Limit = 20,
    after: AfterId | None = None,
) -> HttpResponse:
    """Their orders, newest first, each with all that happened to it and the mails about it."""
    orders = Order.objects.of(request.auth.client).narrowed(email=body.email)
    shown = orders.newest_first(after).prefetch_related("lines")
    return answer(page(shown, _kept, limit=limit, cursor=id_of))


@router.post(
    "/erase",
    summary="Forget a person",
    response={202: responses.Erasure},
    openapi_extra=described(
        "customers:write", headers={202: LOCATION}, conflict="An order of theirs is under way."
    ),
)
def erase_customer(request: AuthenticatedRequest, body: Body[Person]) -> HttpResponse:
    """What their orders, events, mails and kept answers say of them goes; goods and amounts stay.
    A repeat finds the erasure that runs, or what came since.
    """
    with transaction.atomic():
        key = request.auth
        erasure = forget_person(key.client_id, body.email, by=key.prefix)
    location = f"/v1/customers/erasures/{erasure.pk}"
    return answer(_erasure(erasure), status=202, headers={"Location": location})


@router.get(
    "/erasures/{uuid:erasure_id}",
    summary="Read how far an erasure is",
    response=responses.Erasure,
    openapi_extra=described("customers:write"),
)
def read_erasure(request: AuthenticatedRequest, erasure_id: UUID) -> HttpResponse:
    return answer(_erasure(get_object_or_404(Erasure, client=request.auth.client, pk=erasure_id)))


def _erasure(erasure: Erasure) -> dict[str, Any]:
    return {
        "id": str(erasure.pk),
        "state": erasure.state,
        "orders": erasure.orders,
        "created_at": erasure.created_at.isoformat(),
        "finished_at": erasure.finished_at.isoformat() if erasure.finished_at else None,
    }


def _kept(order: Order) -> dict[str, Any]:
    return {
        "order": order.snapshot(),
        "events": [shown_event(event) for event in events.timeline(order.pk)],
        "mails": [_mail(mail) for mail in Delivery.objects.mails_about(order.pk)],
        "remarks": [
            {"who": remark.who, "text": remark.text, "at": remark.at.isoformat()}
            for remark in order.remarks.order_by("pk")
        ],
    }


def _mail(delivery: Delivery) -> dict[str, Any]:
    delivered_at = delivery.delivered_at
    return {
        "event": delivery.event.kind,
        "to": delivery.target,
        "state": delivery.state,
        "created_at": delivery.created_at.isoformat(),
        "delivered_at": delivered_at.isoformat() if delivered_at else None,
    }
