"""What belongs to whoever asks; another client's is not there."""

from typing import Any
from uuid import UUID

from django.http import Http404

from api.auth import AuthenticatedRequest
from notifications.models import Endpoint
from orders.models import Order


def own_order(request: AuthenticatedRequest, **named: Any) -> Order:
    """The order with that pk or external_id, to read. Raises Http404 for another client's."""
    order = Order.objects.of(request.auth.client).filter(**named).prefetch_related("lines").first()
    if order is None:
        raise Http404
    return order


def locked_order(request: AuthenticatedRequest, order_id: UUID) -> Order:
    """The order, to change: locked until the caller's transaction ends. Raises Http404 for another
    client's.
    """
    if not Order.objects.of(request.auth.client).filter(pk=order_id).exists():
        raise Http404
    return Order.objects.locked(order_id)


def own_endpoint(request: AuthenticatedRequest, endpoint_id: UUID) -> Endpoint:
    """Raises Http404 for another client's, and for one that was removed."""
    endpoint = Endpoint.objects.filter(
        owner=request.auth.client_id, active=True, pk=endpoint_id
    ).first()
    if endpoint is None:
        raise Http404
    return endpoint
