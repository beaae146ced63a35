"""What the order API's endpoints share: who asks, doing a thing once, and answers that are encoded once."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import register_converter
from django.urls.converters import StringConverter
from django.utils.http import parse_etags
from pydantic import BaseModel

from orders.clients import ApiKey, IdempotencyKey
from orders.models import Order
from orders.problems import Problem
from orders.states import PaymentState, State

IDEMPOTENCY_KEY_MAX_CHARS = 255

Done = tuple[int, str | None, dict[str, Any]]  # status, Location, body


class Rest(StringConverter):
    """All that is left of a path, as `path` takes it, and also with line breaks."""

    regex = "(?s:.+)"


register_converter(Rest, "rest")


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
    return kept_answer(kept, replayed=replayed)


def kept_answer(kept: IdempotencyKey, *, replayed: bool) -> HttpResponse:
    headers = {"Location": kept.location} if kept.location else {}
    headers |= {"Idempotent-Replayed": "true"} if replayed else {}
    return HttpResponse(kept.body, status=kept.status, content_type="application/json", headers=headers)


def answer(said: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(encoded(said), status=status, content_type="application/json", headers=headers)


def encoded(said: Any) -> str:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def tagged(request: AuthenticatedRequest, order: Order) -> HttpResponse:
    """The order with its ETag, or a 304 for whoever knows that version."""
    tag = tag_of(order)
    asked = parse_etags(request.headers.get("If-None-Match", ""))
    if "*" in asked or tag in [known.removeprefix("W/") for known in asked]:  # gzip on the way weakens a tag
        return HttpResponse(status=304, headers={"ETag": tag})
    return answer(order.snapshot(), headers={"ETag": tag})


def tag_of(order: Order) -> str:
    """The version; and with it the money that is under way, which the order shows and no event has told of yet."""
    waits = order.payment_state in (PaymentState.PENDING, PaymentState.ACTION_REQUIRED)
    if order.refund_pending or (waits and order.state == State.CANCELLED):
        return f'"{order.version}-{order.payment_state}-{order.refund_pending}"'
    return f'"{order.version}"'


def own_order(request: AuthenticatedRequest, **named: Any) -> Order:
    """The order with that pk or external_id, to read. Raises Http404 for another client's."""
    order = Order.objects.of(request.auth.client).filter(**named).prefetch_related("lines").first()
    if order is None:
        raise Http404
    return order


def locked_order(request: AuthenticatedRequest, order_id: UUID) -> Order:
    """The order, to change: locked until the caller's transaction ends. Raises Http404 for another client's."""
    if not Order.objects.of(request.auth.client).filter(pk=order_id).exists():
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
