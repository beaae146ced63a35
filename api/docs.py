"""/v1/docs: the API's description as a page for people, drawn here from the same document. No
script, no login.
"""

import json
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from api.app import api
from api.openapi import Document

REF = "#/components/schemas/"


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """The template keeps what it makes of it, in each language: it is open to everybody, and 100 kB
    long.
    """
    return render(request, "api/docs.html", seen())


@cache
def seen() -> Document:
    document = api.get_openapi_schema()
    tags: dict[str, list[Document]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tags.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    shapes = [_shape(name, shape) for name, shape in document["components"]["schemas"].items()]
    return {
        "about": _marked(document["info"]["description"]),
        "tags": tags,
        "webhooks": [_webhook(kind, item) for kind, item in document["webhooks"].items()],
        "shapes": sorted(shapes, key=lambda shape: str(shape["name"])),
    }


def _operation(method: str, path: str, operation: Document) -> Document:
    body = operation.get("requestBody", {}).get("content", {})
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": _marked(operation.get("description", "")),
        "parameters": [
            {
                **one,
                "kind": _kind(one["schema"]),
                "description": _marked(one.get("description", "")),
            }
            for one in operation["parameters"]
        ],
        "body": [
            {"media": media, "kind": _kind(content["schema"])} for media, content in body.items()
        ],
        "answers": [_answer(status, answer) for status, answer in operation["responses"].items()],
    }


def _webhook(kind: str, item: Document) -> Document:
    operation = item["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    return {
        "event": kind,
        "summary": _marked(operation["summary"]),
        "kind": _kind(body["properties"]["data"]),
        "headers": [
            {"name": header["name"], "description": _marked(header["description"])}
            for header in operation["parameters"]
        ],
        "answers": operation["responses"],
    }


def _answer(status: str, answer: Document) -> Document:
    kinds = [_kind(content["schema"]) for content in answer.get("content", {}).values()]
    own = [name for name, header in answer["headers"].items() if "$ref" not in header]
    return {
        "status": status,
        "description": _marked(answer["description"]),
        "kinds": kinds,
        "headers": own,
    }


def _shape(name: str, shape: Document) -> Document:
    required = shape.get("required", [])
    fields = [
        {
            "name": field,
            "kind": _kind(schema),
            "required": field in required,
            "description": _marked(schema.get("description", "")),
        }
        for field, schema in shape.get("properties", {}).items()
    ]
    examples = [
        json.dumps(example, ensure_ascii=False, indent=2) for example in shape.get("examples", [])
    ]
    return {
        "name": name,
        "fields": fields,
        "words": shape.get("enum", []),
        "examples": examples,
        "description": _marked(shape.get("description", "")),
    }


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


def _kind(schema: Any) -> Document:
    """What a value is, in words, and the shape that it leads to, if any."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return {"words": name, "shape": name}
    if "anyOf" in schema:
        kinds = [_kind(kind) for kind in schema["anyOf"]]
        shape = next((kind["shape"] for kind in kinds if kind["shape"]), None)
        return {"words": " or ".join(kind["words"] for kind in kinds), "shape": shape}
    if schema.get("type") == "array":
        of = _kind(schema.get("items", {}))
        return {"words": f"list of {of['words']}", "shape": of["shape"]}
    if "enum" in schema:
        return {"words": ", ".join(str(word) for word in schema["enum"]), "shape": None}
    kinds = schema.get("type", "anything")
    words = kinds if isinstance(kinds, str) else " or ".join(kinds)
    limits = [f"{word} {schema[name]}" for name, word in LIMITS.items() if name in schema]
    return {"words": ", ".join([schema.get("format", words), *limits]), "shape": None}


LIMITS = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "min. length",
    "maxLength": "max. length",
}
