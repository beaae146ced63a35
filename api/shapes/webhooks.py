"""What a client's endpoint is sent, for the API's description: a webhook of each kind of event,
with the snapshot that it carries.
"""

from typing import Any, Final, TypedDict

from django.conf import settings
from pydantic import TypeAdapter

from api.shapes.examples import EXAMPLES
from notifications.events import KINDS
from notifications.models.event import TEST
from orders.snapshots import About, Id, Order, Stock, exactly

Described = dict[str, Any]

SENT: Final = "serialization"
EXAMPLE: Described = EXAMPLES["webhook"].get("answer", {"type": ""})
REF = "#/components/schemas/{model}"
TEST_ASKED = "a test was asked for; any endpoint is sent it, whatever it listens to"
HEADERS = {
    "webhook-id": "The same on every try: heed each once.",
    "webhook-timestamp": "When this try was made, in seconds since 1970.",
    "webhook-signature": (
        "`v1,` and the signature in base64 of `webhook-id.webhook-timestamp.body` by the "
        "endpoint's secret; after a space one by each other secret that is still good, and then "
        "`v1a,` and an ed25519 signature of the same by each of the endpoint's `public_keys`."
    ),
}
ANSWERS: Described = {
    "2XX": {"description": "Taken: it is not sent again."},
    "default": {
        "description": (
            f"Not taken, as is no answer within {settings.WEBHOOK_TIMEOUT_S} s; a redirect is not "
            f"followed. It is tried up to {settings.DELIVERY_MAX_TRIES} times, ever more rarely; "
            "a test once."
        )
    },
}


@exactly
class AboutOrder(About):
    """The order as the event left it, and what of it the event is about."""

    order: Order


@exactly
class AboutStock(TypedDict):
    stock: Stock


@exactly
class EndpointAsItWas(TypedDict):
    id: Id
    url: str
    events: list[str]


@exactly
class AboutEndpoint(TypedDict):
    endpoint: EndpointAsItWas


SUBJECTS: dict[str, Any] = {"order": AboutOrder, "stock": AboutStock, "webhook": AboutEndpoint}


def described() -> tuple[Described, Described]:
    """The document's `webhooks`, and the schemas that they refer to."""
    references, schemas = TypeAdapter.json_schemas(
        [(name, SENT, TypeAdapter(about)) for name, about in SUBJECTS.items()], ref_template=REF
    )
    about = {name: references[name, SENT] for name in SUBJECTS}
    kinds = {**KINDS, TEST: TEST_ASKED}
    webhooks = {kind: _webhook(kind, why, about[kind.split(".")[0]]) for kind, why in kinds.items()}
    return webhooks, schemas["$defs"]


def _webhook(kind: str, why: str, data: Described) -> Described:
    properties = {
        "type": {"const": kind},
        "timestamp": {"type": "string", "format": "date-time", "description": "of the event"},
        "data": data,
    }
    body = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    content: Described = {"schema": body}
    if kind == EXAMPLE["type"]:
        content["example"] = EXAMPLE
    operation = {
        "tags": ["webhooks"],
        "operationId": kind.replace(".", "_"),
        "summary": f"{why[0].upper()}{why[1:]}",
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": description,
                "schema": {"type": "string"},
            }
            for name, description in HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": ANSWERS,
        "security": [],
    }
    return {"post": operation}
