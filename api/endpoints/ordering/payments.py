"""/v1/orders/{id}/payment and its like: how an order is paid, and what its customer has to do."""

from uuid import UUID

from django.http import HttpResponse
from ninja import Body, Router

from api.auth import AuthenticatedRequest
from api.conventions.answers import answer
from api.conventions.idempotency import Done, once
from api.conventions.prefer_wait import waited
from api.own import locked_order, own_order
from api.shapes.headers import (
    APPLIED,
    IDEMPOTENCY_KEY,
    IN_PROGRESS,
    LOCATION,
    PREFER,
    REPLAYED,
    scoped,
)
from api.shapes.requests.orders import PaidRequest, PaymentRequest
from orders import snapshots
from orders.payments.paying import mark_paid, payment_of
from orders.tasks import pay_again

router = Router(tags=["orders"])

PAID = PaidRequest()  # what a request without a body says


@router.get(
    "/{uuid:order_id}/payment",
    summary="Read how an order is paid",
    response=snapshots.Payment,
    openapi_extra=scoped("orders:write"),
)
def read_payment(request: AuthenticatedRequest, order_id: UUID) -> HttpResponse:
    """What its customer has to do, if anything, and the payments that were tried. Who knows the
    `client_secret` can pay: it stands here only, while it is of use, and is for that customer.
    """
    paid = payment_of(own_order(request, pk=order_id))
    return answer(paid, headers={"Cache-Control": "no-store"})


@router.post(
    "/{uuid:order_id}/payments",
    summary="Pay with another card",
    response={202: snapshots.Order, 200: snapshots.Order},
    openapi_extra=scoped(
        "orders:write",
        IDEMPOTENCY_KEY,
        PREFER,
        headers=dict.fromkeys((200, 202), LOCATION | REPLAYED | APPLIED),
        conflict=(
            "The order is paid, is being paid, has no attempt left, or its goods are not set "
            f"aside, {IN_PROGRESS}."
        ),
    ),
)
def pay_order_again(
    request: AuthenticatedRequest, order_id: UUID, body: Body[PaymentRequest]
) -> HttpResponse:
    """For an order with `attempts` left whose card was declined, or waits for a customer who
    would rather use another one: that payment is called off first.
    """

    def charge() -> Done:
        order = locked_order(request, order_id)
        pay_again(order, body.token)
        return 202, f"/v1/orders/{order_id}", order.snapshot()

    return waited(request, once(request, body, charge))


@router.post(
    "/{uuid:order_id}/mark-paid",
    summary="Note that an order was paid elsewhere",
    response=snapshots.Order,
    openapi_extra=scoped(
        "orders:write",
        IDEMPOTENCY_KEY,
        headers={200: REPLAYED},
        conflict=(
            "The order is paid, is being paid, has ended, or its goods are not set aside yet, "
            f"{IN_PROGRESS}."
        ),
    ),
)
def mark_order_paid(
    request: AuthenticatedRequest, order_id: UUID, body: Body[PaidRequest] = PAID
) -> HttpResponse:
    """Wholly, past every provider: by transfer, in cash, on delivery. What is refunded of it is
    noted as given back by the shop.
    """

    def note() -> Done:
        order = locked_order(request, order_id)
        mark_paid(order, reference=body.reference, amount=body.amount)
        return 200, None, order.snapshot()

    return once(request, body, note)
