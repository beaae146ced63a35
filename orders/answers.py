"""What the order API's endpoints share: who asks, doing a thing once, and answers that are encoded once."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from pydantic import BaseModel

from orders.clients import ApiKey, IdempotencyKey
from orders.models import Order
from orders.problems import Problem

IDEMPOTENCY_KEY_MAX_CHARS = 255

Done = tuple[int, str, dict[str, Any]]  # status, Location, body


class AuthenticatedRequest(HttpRequest):
    """What ninja hands to an operation behind a key."""

    auth: ApiKey


def once(request: AuthenticatedRequest, draft: BaseModel | dict[str, str], act: Callable[[], Done]) -> HttpResponse:
    """Act under the request's Idempotency-Key, in one transaction with the key; a repeat gets the first answer.

    Also when a release came in between: a field that is new since then, and that nobody sent, makes no other request.
    """
    client, key = request.auth.client, _idempotency_key(request)
    said = draft.model_dump(exclude_defaults=True) if isinstance(draft, BaseModel) else draft
    with transaction.atomic():
        kept = IdempotencyKey.objects.begin(client, key, {"path": request.path, "said": said})
        replayed = kept.answered
        if not replayed:
            status, location, body = act()
            kept.answer(status=status, location=location, body=encoded(body))
    headers = {"Location": kept.location or ""} | ({"Idempotent-Replayed": "true"} if replayed else {})
    return HttpResponse(kept.body, status=kept.status, content_type="application/json", headers=headers)


def answer(said: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(encoded(said), status=status, content_type="application/json", headers=headers)


def encoded(said: Any) -> str:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def own_order(request: AuthenticatedRequest, order_id: UUID) -> Order:
    """The order, to read. Raises Http404 for another client's."""
    order = Order.objects.filter(pk=order_id, client=request.auth.client).prefetch_related("lines").first()
    if order is None:
        raise Http404
    return order


def locked_order(request: AuthenticatedRequest, order_id: UUID) -> Order:
    """The order, to change: locked until the caller's transaction ends. Raises Http404 for another client's."""
    if not Order.objects.filter(pk=order_id, client=request.auth.client).exists():
        raise Http404
    return Order.objects.locked(order_id)


def _idempotency_key(request: HttpRequest) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        raise Problem(
            400, "idempotency-key-required", "Send an Idempotency-Key header, a fresh UUID for each new request."
        )
    if len(key) > IDEMPOTENCY_KEY_MAX_CHARS or not (key.isascii() and key.isprintable()):
        raise Problem(
            400, "idempotency-key-invalid", "The Idempotency-Key must be up to 255 printable ASCII characters."
        )
    return key
