"""/v1/customers: what is kept about a person, and forgetting it. The address stands in the body:
what stands in a query is logged by whatever is on the way.
"""

from uuid import UUID

from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from ninja import Body, Router

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.paging import AfterId, Limit, id_of
from api.shapes.headers import LOCATION, scoped
from api.shapes.requests.orders import Person
from api.shapes.responses import customers as shapes
from orders.models import Erasure, Order
from orders.tasks import forget_person

router = Router(tags=["customers"])


@router.post(
    "/export",
    summary="Read what is kept about a person",
    response=shapes.KeptOfPerson,
    openapi_extra=scoped("orders:read"),
)
def export_customer(
    request: AuthenticatedRequest,
    body: Body[Person],
    limit: Limit = 20,
    after: AfterId | None = None,
) -> HttpResponse:
    """Their orders, newest first, each with all that happened to it and the mails about it."""
    orders = Order.objects.of(request.auth.client).narrowed(email=body.email)
    found = orders.newest_first(after).prefetch_related("lines")
    return answer(shapes.KeptOfPerson.of(found, shapes.KeptOrder.of, limit=limit, cursor=id_of))


@router.post(
    "/erase",
    summary="Forget a person",
    response={202: shapes.Erasure},
    openapi_extra=scoped(
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
    begun = shapes.Erasure.from_row(erasure)
    return answer(begun, status=202, headers={"Location": location})


@router.get(
    "/erasures/{uuid:erasure_id}",
    summary="Read how far an erasure is",
    response=shapes.Erasure,
    openapi_extra=scoped("customers:write"),
)
def read_erasure(request: AuthenticatedRequest, erasure_id: UUID) -> HttpResponse:
    erasure = get_object_or_404(Erasure, client=request.auth.client, pk=erasure_id)
    return answer(shapes.Erasure.from_row(erasure))
