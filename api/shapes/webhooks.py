"""What a client's endpoint is sent, for the API's description: a webhook of each kind of event,
with the snapshot that it carries.
"""

from typing import Annotated, Any, Final, TypedDict

from django.conf import settings
from pydantic import Field, TypeAdapter

from api.shapes.examples import EXAMPLES
from api.shapes.headers import Document
from notifications.events import KINDS
from notifications.models.event import TEST
from orders.snapshots import About, Id, Order, Stock, exactly

SENT: Final = "serialization"
EXAMPLE: Document = EXAMPLES["webhook"].get("answer", {"type": ""})
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
EVENT_ID: Document = {"type": "string", "format": "uuid", "description": "in GET /v1/events"}
ANSWERS: Document = {
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


@exactly
class Whereabouts(TypedDict):
    self: Annotated[str, Field(description="where it is read as it is now")]


@exactly
class OrderInShort(TypedDict):
    id: Id
    number: Annotated[str, Field(description="for people")]
    version: Annotated[int, Field(description="as the event left it")]
    links: Whereabouts


@exactly
class StockInShort(TypedDict):
    sku: str
    links: Whereabouts


@exactly
class EndpointInShort(TypedDict):
    id: Id
    links: Whereabouts


@exactly
class OrderThinly(TypedDict):
    """Which order the event is about, for an endpoint whose `payload` is thin."""

    order: OrderInShort


@exactly
class StockThinly(TypedDict):
    stock: StockInShort


@exactly
class EndpointThinly(TypedDict):
    endpoint: EndpointInShort


# the data of a full payload, and of a thin one
SUBJECTS: dict[str, tuple[Any, Any]] = {
    "order": (AboutOrder, OrderThinly),
    "stock": (AboutStock, StockThinly),
    "webhook": (AboutEndpoint, EndpointThinly),
}


def webhooks_and_schemas() -> tuple[Document, Document]:
    """The document's `webhooks`, and the schemas that they refer to."""
    references, schemas = TypeAdapter.json_schemas(
        [
            (f"{name} {number}", SENT, TypeAdapter(about))
            for name, both in SUBJECTS.items()
            for number, about in enumerate(both)
        ],
        ref_template=REF,
    )
    about = {
        name: [references[f"{name} {number}", SENT] for number in range(len(both))]
        for name, both in SUBJECTS.items()
    }
    kinds = {**KINDS, TEST: TEST_ASKED}
    webhooks = {
        kind: _webhook(kind, why, *about[kind.split(".")[0]]) for kind, why in kinds.items()
    }
    return webhooks, schemas["$defs"]


def _webhook(kind: str, why: str, full: Document, thin: Document) -> Document:
    """By what its endpoint's `payload` is."""
    bodies = [_body(kind, "full", full), _body(kind, "thin", thin, id=EVENT_ID)]
    content: Document = {"schema": {"oneOf": bodies}}
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


def _body(kind: str, title: str, data: Document, **more: Document) -> Document:
    properties = {
        **more,
        "type": {"const": kind},
        "timestamp": {"type": "string", "format": "date-time", "description": "of the event"},
        "data": data,
    }
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
