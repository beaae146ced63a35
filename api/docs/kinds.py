"""What a value may be, in the signs of a schema: `string, ≤ 200`, `OrderLine[]`."""

from typing import Any

from api.openapi import REF, led_to
from api.shapes.headers import Document

WORDS_SHOWN = 8  # of those that a text may be


def kind_of(schema: Any) -> Document:
    """Its `words`, and the `shape` that it leads to, if any."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF)
        return {"words": name, "shape": name}
    if "anyOf" in schema:
        kinds = [kind_of(kind) for kind in schema["anyOf"]]
        shape = next((kind["shape"] for kind in kinds if kind["shape"]), None)
        return {"words": " | ".join(kind["words"] for kind in kinds), "shape": shape}
    if schema.get("type") == "array":
        of = kind_of(schema.get("items", {}))
        words = f"({of['words']})[]" if " " in of["words"] else f"{of['words']}[]"
        return {"words": _limited(words, schema, "minItems", "maxItems"), "shape": of["shape"]}
    if "enum" in schema or "const" in schema:
        return {"words": _one_of(schema.get("enum", [schema.get("const")])), "shape": None}
    return {"words": _plain(schema), "shape": None}


def shapes_in(document: Document, schemas: Document) -> set[str]:
    """The shapes that an answer, a webhook or another shape leads to."""
    nodes = [
        part
        for operations in document["paths"].values()
        for operation in operations.values()
        for part in (operation["responses"], operation.get("requestBody", {}))
    ]
    return led_to([*nodes, document["webhooks"]], schemas)


def _one_of(words: list[Any]) -> str:
    first = [str(word) for word in words[:WORDS_SHOWN] if word != ""]
    more = [f"… ({len(words)})"] if len(words) > WORDS_SHOWN else []
    return " | ".join([*first, *more])


def _plain(schema: Document) -> str:
    kinds = schema.get("type", "any")
    words = schema.get("format") or (kinds if isinstance(kinds, str) else " | ".join(kinds))
    limits = ("minLength", "maxLength") if words != "integer" else ("minimum", "maximum")
    if isinstance(values := schema.get("additionalProperties"), dict):
        words = f"{{name: {kind_of(values)['words']}}}"
        limits = ("minProperties", "maxProperties")
    return _limited(words, schema, *limits)


def _limited(words: str, schema: Document, least: str, most: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if high is None and "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - 1
    match low, high:
        case None, None:
            return words
        case _, None:
            return f"{words}, ≥ {low}"
        case None, _:
            return f"{words}, ≤ {high}"
    return f"{words}, {low}–{high}"
