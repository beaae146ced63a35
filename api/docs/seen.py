"""What the page shows of the API's description, in the language that is on."""

import json
from typing import Any

from django.conf import settings
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext

from api.app import api
from api.docs import curl
from api.docs.kinds import kind_of, shapes_in
from api.openapi import REFUSALS
from api.problems.types import TYPES
from api.shapes.examples import EXAMPLES
from api.shapes.headers import Document

ITEMS_SHOWN, LINES_SHOWN = 2, 3  # of a list and of a text in an example
LEFT_OUT = "…"


def seen() -> Document:
    document = api.get_openapi_schema()
    schemas = document["components"]["schemas"]
    operations = [
        _operation(method, path, operation, schemas)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    inline = {operation["shape"] for operation in operations}
    return {
        "about": _translated(document["info"]["description"]),
        "languages": settings.LANGUAGES,
        "tags": [_tag(tag, operations) for tag in document["tags"]],
        "refusals": [_refusal(status) for status in sorted(REFUSALS)],
        "webhooks": [_webhook(kind, item) for kind, item in document["webhooks"].items()],
        "webhook": _webhooks(document["webhooks"]),
        "shapes": [
            _shape(name, schemas[name])
            for name in sorted(shapes_in(document, schemas))
            if name not in inline
        ],
    }


def _tag(tag: Document, operations: list[Document]) -> Document:
    return {
        "name": tag["name"],
        "title": _translated(tag["name"].capitalize()),
        "about": _translated(tag["description"]),
        "operations": [one for one in operations if one["tag"] == tag["name"]],
    }


def _operation(method: str, path: str, operation: Document, schemas: Document) -> Document:
    example = EXAMPLES[operation["operationId"]]
    verb = method.upper()
    shape = _body_shape(operation)
    answers = [_answer(*one) for one in operation["responses"].items()]
    own = [one for one in answers if one["is_own"]]
    scopes = [scope for one in operation["security"] for scope in one["Key"]]
    about = operation.get("description", "")
    return {
        "id": operation["operationId"],
        "tag": operation["tags"][0],
        "verb": verb,
        "path": path,
        "summary": _translated(operation["summary"]),
        "description": _marked(about.rpartition("Needs the scope")[0] if scopes else about),
        "scopes": scopes,
        "parameters": [_parameter(one) for one in operation["parameters"]],
        "files": [media for media in _media(operation) if media != "application/json"],
        "shape": shape,
        "fields": _fields(schemas[shape]) if shape else [],
        "answers": own,
        "refusals": [one["status"] for one in answers if one not in own],
        "curl": curl.command(verb, path, operation, example["request"]) if scopes else "",
        "status": example.get("status", ""),
        "answer": _cut(example.get("answer", "")),
    }


def _media(operation: Document) -> Document:
    media: Document = operation.get("requestBody", {}).get("content", {})
    return media


def _body_shape(operation: Document) -> str:
    schema = _media(operation).get("application/json", {}).get("schema", {})
    return str(kind_of(schema)["shape"] or "")


def _parameter(one: Document) -> Document:
    return {
        "name": one["name"],
        "place": one["in"],
        "required": one["required"],
        "kind": kind_of(one["schema"]),
        "description": _marked(one.get("description") or one["schema"].get("description", "")),
    }


def _fields(shape: Document) -> list[Document]:
    required = shape.get("required", [])
    return [
        {
            "name": name,
            "kind": kind_of(schema),
            "required": name in required,
            "description": _marked(_description(schema)),
        }
        for name, schema in shape.get("properties", {}).items()
    ]


def _description(schema: Document) -> str:
    """Its own, or that of what it may be besides null."""
    found = [schema, *schema.get("anyOf", [])]
    return next((one["description"] for one in found if "description" in one), "")


def _answer(status: str, answer: Document) -> Document:
    """Its own, unless it is a refusal that any endpoint of the kind may give."""
    is_refusal = int(status) >= 400
    kinds = [kind_of(content["schema"]) for content in answer.get("content", {}).values()]
    return {
        "status": status,
        "description": _marked(answer["description"]),
        "kinds": [] if is_refusal else kinds,
        "headers": [name for name, header in answer["headers"].items() if "$ref" not in header],
        "is_own": not is_refusal or answer["description"] != REFUSALS.get(int(status)),
    }


def _refusal(status: int) -> Document:
    """What it means wherever it is met, and the pages that say what to do."""
    slugs = [slug for slug, problem in TYPES.items() if problem.status == status]
    return {"status": status, "about": _translated(REFUSALS[status]), "slugs": slugs}


def _webhook(kind: str, item: Document) -> Document:
    bodies = _media(item["post"])["application/json"]["schema"]["oneOf"]
    return {
        "event": kind,
        "id": item["post"]["operationId"],
        "summary": _translated(item["post"]["summary"]),
        "kinds": [kind_of(body["properties"]["data"]) for body in bodies],
    }


def _webhooks(items: Document) -> Document:
    """What is the same of all of them, and one as it was sent."""
    operation = next(iter(items.values()))["post"]
    sent = EXAMPLES["webhook"]
    return {
        "headers": [
            {"name": one["name"], "description": _marked(one["description"])}
            for one in operation["parameters"]
        ],
        "answers": [
            {"status": status, "description": _marked(answer["description"])}
            for status, answer in operation["responses"].items()
        ],
        "sent": "\n".join(f"{name}: {value}" for name, value in sent["headers"].items()),
        "body": _cut(sent["answer"]),
    }


def _shape(name: str, shape: Document) -> Document:
    return {
        "name": name,
        "fields": _fields(shape),
        "kind": kind_of(shape),
        "description": _marked(shape.get("description", "")),
    }


def _cut(answer: Any) -> str:
    """An answer as it is read: of a long list or text the beginning."""
    if isinstance(answer, str):
        lines = answer.splitlines()
        return "\n".join([*lines[:LINES_SHOWN], *([LEFT_OUT] if len(lines) > LINES_SHOWN else [])])
    return json.dumps(_shortened(answer), ensure_ascii=False, indent=2)


def _shortened(value: Any) -> Any:
    match value:
        case dict():
            return {name: _shortened(part) for name, part in value.items()}
        case list() if len(value) > ITEMS_SHOWN:
            return [*map(_shortened, value[:ITEMS_SHOWN]), LEFT_OUT]
        case list():
            return [*map(_shortened, value)]
    return value


def _translated(text: str) -> Document:
    """In the reader's language; `english` where that is another and has no words for it yet."""
    translation = gettext(text)
    is_english = translation == text and get_language() != "en"
    return {"text": _marked(translation), "english": is_english}


def _marked(text: str) -> SafeString:
    """Escaped, with what stands between backticks as code, and line ends only where a paragraph
    ends.
    """
    paragraphs = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    parts = (
        format_html("<code>{}</code>", part) if index % 2 else part
        for index, part in enumerate(paragraphs.split("`"))
    )
    return format_html_join("", "{}", ((part,) for part in parts))
