"""What the API's description says of the endpoints beyond their shapes: headers, scopes and
conflicts.
"""

from collections.abc import Mapping
from typing import Any

from api.conventions.idempotency import IDEMPOTENCY_KEY_MAX_CHARS

Document = dict[str, Any]  # a part of the OpenAPI document

IDEMPOTENCY_KEY: Document = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": (
        "A fresh UUID for each new request. "
        "The same key with the same body gets the first answer again."
    ),
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": IDEMPOTENCY_KEY_MAX_CHARS,
        "pattern": r"^[\x21-\x7e]+( [\x21-\x7e]+)*$",
    },
}
PREFER: Document = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "example": "wait=5",
    "description": (
        "`wait=N` holds the answer for up to N seconds, at most 10, "
        "until the order is decided, or waits for its customer (RFC 7240)."
    ),
}
IF_NONE_MATCH: Document = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "An ETag from before: 304 when the order is still as it was.",
}
IF_MATCH: Document = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "An ETag from before: 412 when it is not as it was, and nothing is changed.",
}
ETAG: Document = {
    "ETag": {
        "description": "The order's version, quoted; more while money is under way.",
        "schema": {"type": "string"},
    }
}
CONTENT_TAG: Document = {
    "ETag": {
        "description": "Of what it is now; for the If-Match of a change.",
        "schema": {"type": "string"},
    }
}
LOCATION: Document = {
    "Location": {"description": "Where it is read.", "schema": {"type": "string"}}
}
REPLAYED: Document = {
    "Idempotent-Replayed": {
        "description": "`true` on a repeat.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
APPLIED: Document = {
    "Preference-Applied": {"description": "When the answer was held.", "schema": {"type": "string"}}
}
IN_PROGRESS = "or the first request with this key is still running (then with Retry-After)"


def scoped(
    scope: str,
    *parameters: Document,
    headers: Mapping[int, Document] | None = None,
    conflict: str = "",
    unchanged: bool = False,
    media_type: str = "",
) -> Document:
    """For `openapi_extra`: the scope it needs, header parameters, headers by status, and when there
    is a 409, 304 or 412.

    `media_type` is that of a 200 which is no JSON.
    """
    responses: dict[int, Document] = {
        status: {"headers": named} for status, named in (headers or {}).items()
    }
    if conflict:
        responses[409] = {"description": conflict}
    if media_type:
        text = {"content": {media_type: {"schema": {"type": "string"}}}}
        responses[200] = {"description": "OK", **responses.get(200, {}), **text}
    if any(parameter is IF_MATCH for parameter in parameters):
        responses[412] = {"description": "It is not as it was; nothing was changed."}
    if unchanged:
        responses[304] = {"description": "The order is still as it was.", "headers": ETAG}
    return {"x-scope": scope, "parameters": list(parameters), "responses": responses}
