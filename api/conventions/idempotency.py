"""Doing a thing once: the Idempotency-Key commits with what it was sent for, and a repeat gets the
first answer.
"""

from collections.abc import Callable

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from pydantic import BaseModel

from api.auth import AuthenticatedRequest
from api.conventions.answers import Body, encoded
from orders.models import IdempotencyKey
from values import identity
from values.refused import Refused

IDEMPOTENCY_KEY_MAX_CHARS = 255

Done = tuple[int, str | None, Body]  # status, Location, body


def once(
    request: AuthenticatedRequest, body: BaseModel | dict[str, str], act: Callable[[], Done]
) -> HttpResponse:
    """Act under the request's Idempotency-Key, in one transaction with the key; a repeat gets the
    first answer.

    Also when a release came in between: a field that is new since then, and that nobody sent, makes
    no other request.
    """
    client, key = request.auth.client, idempotency_key(request)
    sent = body.model_dump(exclude_defaults=True) if isinstance(body, BaseModel) else body
    with transaction.atomic():
        kept = IdempotencyKey.objects.begin(client, key, {"path": request.path, "said": sent})
        replayed = kept.answered
        if not replayed:
            status, location, answer = act()
            kept.answer(status=status, location=location, body=encoded(answer))
    return kept_answer(kept, replayed=replayed)


def kept_answer(kept: IdempotencyKey, *, replayed: bool) -> HttpResponse:
    headers = {"Location": kept.location} if kept.location else {}
    headers |= {"Idempotent-Replayed": "true"} if replayed else {}
    return HttpResponse(
        kept.body, status=kept.status, content_type="application/json", headers=headers
    )


def idempotency_key(request: HttpRequest) -> str:
    """Raises a 400 problem when there is none, or one that cannot be."""
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        raise Refused(
            "idempotency-key-required",
            "Send an Idempotency-Key header, a fresh UUID for each new request.",
        )
    if len(key) > IDEMPOTENCY_KEY_MAX_CHARS or not (key.isascii() and key.isprintable()):
        raise Refused(
            "idempotency-key-invalid",
            "The Idempotency-Key must be up to 255 printable ASCII characters.",
        )
    if objection := identity.objection(key):
        raise Refused("idempotency-key-invalid", f"The Idempotency-Key {objection}.")
    return key
