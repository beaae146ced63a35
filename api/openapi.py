"""The API's description, OpenAPI 3.1: what ninja reads from the endpoints, and what is true of all
of them.
"""

from functools import cache
from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from api.shapes import webhooks
from api.shapes.examples import EXAMPLES
from api.shapes.headers import Document

REF = "#/components/schemas/"

DESCRIPTION = (
    "An order backend. Keys: `python manage.py apikey create NAME [--scope orders:read …]`.\n\n"
    "Money is an integer in the currency's minor unit. "
    "A repeat under the same Idempotency-Key gets the first answer again.\n"
    "Every refusal is `application/problem+json` (RFC 9457); "
    "its `type` is a page that says what to do.\n\n"
    "Your endpoints are sent `webhooks`, signed as https://www.standardwebhooks.com/ has it."
)

LICENSE = {"name": "BSD 3-Clause", "identifier": "BSD-3-Clause"}
TAGS = {
    "orders": "Placed, paid, sent, taken back, refunded, cancelled.",
    "customers": "What is kept of a person, and its erasure.",
    "shop": "The name, the words and the terms that customers read.",
    "stock": "What there is of each sku, and its book.",
    "imports": "Many orders from one file.",
    "exports": "Many orders to files.",
    "payments": "What a payment provider tells us.",
    "reports": "A day and a month in figures.",
    "jobs": "The work behind the orders.",
    "webhooks": "What your own endpoints are sent, and what was sent.",
}
PROBLEM: Document = {
    "title": "Problem",
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail", "errors", "request_id"],
    "properties": {
        "type": {
            "type": "string",
            "pattern": "^/problems/[a-z-]+$",
            "description": "a page that explains it",
        },
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "JSON pointer into the body, or /query/NAME",
                    },
                    "message": {"type": "string"},
                },
            },
        },
        "request_id": {
            "type": ["string", "null"],
            "description": "what our logs know the request by",
        },
    },
}
REFUSALS = {
    400: "The request cannot be read, or lacks a header that it needs.",
    401: "There is no valid key.",
    403: "The key lacks the scope.",
    404: "There is nothing here, or not for this key.",
    408: "The body did not arrive in time.",
    411: "The body has no Content-Length.",
    413: "The body is too large.",
    415: "The body is of a kind that is not taken here.",
    422: "A field or a parameter is wrong; `errors` names it.",
    429: "Too many requests with this key; see Retry-After.",
    500: "Something went wrong on our side.",
    503: "Postgres does not answer; nothing was written. See Retry-After.",
}
HEADERS: Document = {
    "X-Request-ID": {
        "description": "What our logs know the request by.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "How many requests (q) in how many seconds (w).",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "How many are left (r), and when all are (t).",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds until a repeat is welcome.",
        "schema": {"type": "integer"},
    },
    "WWW-Authenticate": {"description": "How to send the key.", "schema": {"type": "string"}},
}
REFUSAL_HEADERS = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}


class DescribedAPI(NinjaAPI):
    """A NinjaAPI whose description also tells of keys, scopes, headers and refusals."""

    def get_openapi_schema(self, *, path_prefix: str | None = None, **_: Any) -> OpenAPISchema:
        return _document_of(self, self.get_root_path({}) if path_prefix is None else path_prefix)

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__


@cache
def _document_of(api: DescribedAPI, path_prefix: str) -> OpenAPISchema:
    document = NinjaAPI.get_openapi_schema(api, path_prefix=path_prefix)
    for operations in document["paths"].values():
        for method, operation in operations.items():
            _complete(method, operation)
    document["webhooks"], shapes = webhooks.webhooks_and_schemas()
    document["components"]["schemas"] |= {**shapes, "Problem": PROBLEM}
    document["components"]["headers"] = HEADERS
    document["info"]["license"] = LICENSE
    document["servers"] = [{"url": "/", "description": "where this was read"}]
    document["tags"] = [{"name": name, "description": about} for name, about in TAGS.items()]
    _unwrap(document)
    _forget_unused(document)
    return document


def _unwrap(node: Any) -> None:
    """The description of a single shape stands beside its `$ref`: generators do not look into an
    `allOf` of one.
    """
    for part in node.values() if isinstance(node, dict) else node:
        if isinstance(part, dict | list):
            _unwrap(part)
    if isinstance(node, dict) and len(node.get("allOf", [])) == 1:
        node |= node.pop("allOf")[0]


def _forget_unused(document: Document) -> None:
    """The shapes that nothing leads to: those of parameters, which stand where they are sent."""
    schemas = document["components"]["schemas"]
    used = led_to([document["paths"], document["webhooks"]], schemas)
    document["components"]["schemas"] = {name: schemas[name] for name in schemas if name in used}


def led_to(nodes: list[Any], schemas: Document) -> set[str]:
    """The names of the schemas to which any of the nodes refers, and those refer."""
    used: set[str] = set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes += node
        elif isinstance(node, dict):
            name = str(node.get("$ref", "")).removeprefix(REF)
            if name in schemas and name not in used:
                used.add(name)
                nodes.append(schemas[name])
            nodes += node.values()
    return used


def _complete(method: str, operation: Document) -> None:
    for parameter in operation["parameters"]:
        parameter["schema"] = _without_null(parameter["schema"])
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content["schema"].pop("default", None)  # a body that is not sent has its fields' defaults
    if "x-scope" in operation:
        scope = operation.pop("x-scope")
        operation["security"] = [
            {name: [scope] for name in requirement} for requirement in operation["security"]
        ]
        operation["description"] = (
            f"{operation.get('description', '')}\n\nNeeds the scope `{scope}`.".strip()
        )
    else:
        operation["security"] = operation.get("security", [])
    responses = operation["responses"]
    for status in _refusals(method, operation):
        responses.setdefault(status, {"description": REFUSALS[status]})
    operation["responses"] = {
        str(status): _response(status, responses[status], limited=bool(operation["security"]))
        for status in sorted(responses)
    }
    _exemplify(operation, EXAMPLES.get(operation["operationId"], {}))


def _exemplify(operation: Document, example: Document) -> None:
    """What is sent and answered once stands where it is described."""
    request = example.get("request", {})
    sent = {"application/json": request.get("body"), "text/csv": request.get("file")}
    answered = operation["responses"].get(str(example.get("status")), {}).get("content", {})
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        if sent.get(media_type) is not None:
            content["example"] = sent[media_type]
    is_text = isinstance(example.get("answer"), str)
    if (content := answered.get("text/csv" if is_text else "application/json")) is not None:
        content["example"] = example["answer"]


def _refusals(method: str, operation: Document) -> list[int]:
    """What any endpoint of this kind may refuse with."""
    places = {parameter["in"] for parameter in operation["parameters"]}
    refusals = [400, 422, 500, 503]
    if operation["security"]:
        refusals += [401, 403, 429]
    if "path" in places:
        refusals.append(404)
    if method != "get":
        refusals += [408, 411, 413, 415]
    return refusals


def _response(status: int, response: Document, *, limited: bool) -> Document:
    names = ["X-Request-ID", *REFUSAL_HEADERS.get(status, [])]
    if limited and status != 401:
        names += ["RateLimit-Policy", "RateLimit"]
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    response = {**response, "headers": headers | response.get("headers", {})}
    if status >= 400:
        response["content"] = {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }
    return response


def _without_null(schema: Document) -> Document:
    """A parameter that is not sent is not there; in a path or a query nothing is null."""
    kinds: list[Document] = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {
        name: value for name, value in schema.items() if name not in ("anyOf", "default")
    } | kinds[0]
