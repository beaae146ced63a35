"""What an endpoint is sent of an event: all of it, or, where its owner wants a thin payload, which
order it is about and where that is read.
"""

import json
from datetime import UTC
from typing import Any, NamedTuple
from urllib.parse import quote

from notifications.models import Delivery, Endpoint, Event


class Thin(NamedTuple):
    """What a thin payload holds of a thing."""

    members: tuple[str, ...]  # those that name it, and nobody
    path: str  # where the API shows it as it is now, of the first of these


THIN = {
    "order": Thin(("id", "number", "version"), "/v1/orders/"),
    "stock": Thin(("sku",), "/v1/stock/"),
    "endpoint": Thin(("id",), "/v1/webhook-endpoints/"),
}


def content(event: Event, payload: str = Endpoint.Payload.FULL) -> dict[str, Any]:
    """The JSON of a webhook about this event: `type`, `timestamp` and `data`; of a thin one, whose
    `data` only says where to read, also the event's `id`.
    """
    happened_at = event.at.astimezone(UTC).isoformat()
    envelope = {"type": event.kind, "timestamp": happened_at}
    if payload == Endpoint.Payload.THIN:
        return {"id": str(event.pk), **envelope, "data": _thin(event.data)}
    return {**envelope, "data": event.data}


def body(delivery: Delivery) -> str:
    """What is sent and signed: the same bytes on every try, as long as its endpoint wants the same
    payload.
    """
    payload = delivery.endpoint.payload if delivery.endpoint else Endpoint.Payload.FULL
    json_content = content(delivery.event, payload)
    return json.dumps(json_content, ensure_ascii=False, separators=(",", ":"))


def _thin(data: dict[str, Any]) -> dict[str, Any]:
    return {name: _named(data[name], thin) for name, thin in THIN.items() if name in data}


def _named(about: dict[str, Any], thin: Thin) -> dict[str, Any]:
    named = {member: about[member] for member in thin.members}
    key = str(named[thin.members[0]])
    return {**named, "links": {"self": thin.path + quote(key, safe="")}}
