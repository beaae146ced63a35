"""The rules of linters and the limits of client generators that our description has met with:
Redocly's and Spectral's recommended ones, openapi-python-client and openapi-typescript.

Those of Node are asked by hand: `npx @redocly/cli lint openapi.json --extends recommended`,
`npx @stoplight/spectral-cli lint openapi.json` with `extends: spectral:oas`, and
`npx openapi-typescript openapi.json -o client.ts`. They found no error on 2026-12-01.
"""

from collections.abc import Iterator
from typing import Any

from api.app import api as described_api
from tests.shop.everything import objections

DOCUMENT = described_api.get_openapi_schema()


def nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object, with where it stands; not those of examples."""
    if isinstance(node, dict):
        yield path, node
    parts = node.items() if isinstance(node, dict) else enumerate(node)
    for name, part in parts:
        if isinstance(part, dict | list) and name not in ("example", "examples", "default"):
            yield from nodes(part, f"{path}/{name}")


ALL = list(nodes(DOCUMENT))


def where(is_wrong: Any) -> list[str]:
    return [path for path, node in ALL if is_wrong(node)]


def test_a_generator_finds_the_fields_of_each_shape() -> None:
    """Alternatives beside fields become a shape without them; if and else change nothing there."""
    assert where(lambda node: "properties" in node and {"anyOf", "oneOf"} & set(node)) == []
    assert where(lambda node: len(node.get("allOf", "of two")) == 1) == []
    assert where(lambda node: node.get("type") == "array" and "items" not in node) == []
    assert where(lambda node: "patternProperties" in node) == []
    assert (
        where(lambda node: "$ref" in node.get("schema", {}) and "default" in node["schema"]) == []
    )


def test_what_is_named_is_there_and_what_is_there_is_named() -> None:
    operations = [
        operation
        for part in ("paths", "webhooks")
        for methods in DOCUMENT[part].values()
        for operation in methods.values()
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for operation in operations for tag in operation["tags"]} == tags
    assert (bool(DOCUMENT["servers"]), bool(DOCUMENT["info"]["license"])) == (True, True)
    referred = {node["$ref"].rpartition("/")[2] for _, node in ALL if "$ref" in node}
    components = DOCUMENT["components"]
    assert referred == set(components["schemas"]) | set(components["headers"])


def test_each_default_and_each_example_is_of_its_shape() -> None:
    examples = [
        (f"{path}/{name}", node.get("schema", node), node[name])
        for path, node in ALL
        for name in ("default", "example")
        if name in node and "type" in node.get("schema", node) | node
    ]
    assert len(examples) > 30
    assert [path for path, schema, value in examples if not is_of(schema, value)] == []


def is_of(schema: dict[str, Any], value: Any) -> bool:
    return objections(value, schema) == []
