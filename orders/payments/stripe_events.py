"""Stripe's events: who sent them, and what they are about. Works without Stripe's package, so web
dynos load none.

A signature is HMAC-SHA256 over "<time>.<body>" with the endpoint's secret; while a secret is rolled
there are several.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from orders.payments.provider import EventNotice, EventReader, NoEvent, NotFromProvider
from values import strict_json
from values.ids import uuid_in
from values.strict_json import NotJson

SIGNATURES_MAX = 10
ID_MAX_CHARS = 255
THIN = "v2.core.event"
TIME = re.compile(r"[0-9]{1,15}")


def reader() -> EventReader | None:
    """What reads an event; None without a secret: then nobody can prove to be Stripe."""
    return read if settings.STRIPE_WEBHOOK_SECRET else None


def read(body: bytes, headers: Mapping[str, str]) -> EventNotice:
    _verify(body, headers.get("Stripe-Signature", ""))
    try:
        return _notice(strict_json.parse(body))
    except (NotJson, LookupError, TypeError, AttributeError) as exc:
        raise NoEvent("it has no id, no type, or nothing that it is about") from exc


def _verify(body: bytes, header: str) -> None:
    pairs = [part.partition("=")[::2] for part in header.split(",")]
    times = [value for name, value in pairs if name == "t"]
    signatures = [value for name, value in pairs if name == "v1"][:SIGNATURES_MAX]
    if not times or not signatures:
        raise NotFromProvider("its Stripe-Signature header is missing or unreadable")
    signed = times[0].encode() + b"." + body
    digest = hmac.new(settings.STRIPE_WEBHOOK_SECRET.encode(), signed, hashlib.sha256)
    expected = digest.hexdigest().encode()
    if not any(hmac.compare_digest(expected, signature.encode()) for signature in signatures):
        raise NotFromProvider("its signature does not fit")
    if not _is_recent(times[0]):
        raise NotFromProvider("its signature is too old, or one of the clocks is wrong")


def _is_recent(signed_at: str) -> bool:
    if not TIME.fullmatch(signed_at):
        return False
    return abs(time.time() - int(signed_at)) <= settings.STRIPE_SIGNATURE_MAX_AGE_S


def _notice(event: Mapping[str, Any]) -> EventNotice:
    """What an event is about, in either form: with a snapshot of it, or thin, with its id."""
    if event.get("object") == THIN:
        about = event.get("related_object") or {"id": ""}
        return EventNotice(
            event_id=_text(event["id"]), kind=_text(event["type"]), reference=_text(about["id"])
        )
    about = event["data"]["object"]
    reference = about["id"] if about["object"] == "payment_intent" else about.get("payment_intent")
    return EventNotice(
        event_id=_text(event["id"]),
        kind=_text(event["type"]),
        reference=_text(reference or ""),
        operation=uuid_in((about.get("metadata") or {}).get("operation")),
    )


def _text(value: Any) -> str:
    """A text of at most ID_MAX_CHARS, as Stripe's ids are. Raises TypeError for anything else."""
    if not isinstance(value, str) or len(value) > ID_MAX_CHARS:
        raise TypeError(value)
    return value
