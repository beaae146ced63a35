"""A request as a line for a shell, as it can be sent to this very installation."""

import json
from urllib.parse import quote, urlencode

from django.conf import settings

from api.shapes.headers import Document

SHORT_CHARS = 60  # of JSON that stands on one line
FRESH_KEY = "$(openssl rand -hex 16)"
TODAY = {"day": "$(date +%F)", "month": "$(date +%Y-%m)"}


def command(method: str, path: str, operation: Document, example: Document) -> str:
    """For a shell with a `KEY`, and what an earlier answer has told: `ORDER_ID` and its like."""
    address = f'"{settings.SITE_URL}{_filled(path, example)}{_query(example)}"'
    parts = ["curl" if _is_usual(method, example) else f"curl -X {method}", address]
    parts += [f'-H "{header}"' for header in _headers(operation, example)]
    if "body" in example:
        parts.append(f"-d {_quoted(_written(example['body']))}")
    elif "file" in example:
        parts.append(f"--data-binary {_quoted(example['file'])}")
    first, *others = parts
    return f"{first} " + " \\\n  ".join(others)


def _is_usual(method: str, example: Document) -> bool:
    return method == ("POST" if "body" in example or "file" in example else "GET")


def _filled(path: str, example: Document) -> str:
    """A parameter is what the example says, today, or an id of an earlier answer."""
    given = {name: quote(str(value)) for name, value in example.get("path", {}).items()}
    for name in [part.split("}")[0] for part in path.split("{")[1:]]:
        value = given.get(name) or TODAY.get(name) or f"${name.upper()}"
        path = path.replace(f"{{{name}}}", value)
    return path


def _query(example: Document) -> str:
    return f"?{urlencode(example['query'])}" if "query" in example else ""


def _headers(operation: Document, example: Document) -> list[str]:
    headers = ["Authorization: Bearer $KEY"]
    if any(one["name"] == "Idempotency-Key" for one in operation["parameters"]):
        headers.append(f"Idempotency-Key: {FRESH_KEY}")
    headers += [f"{name}: {value}" for name, value in example.get("headers", {}).items()]
    if "body" in example:
        headers.append("Content-Type: application/json")
    elif "file" in example:
        headers.append("Content-Type: text/csv")
    return headers


def _written(body: Document) -> str:
    short = json.dumps(body, ensure_ascii=False)
    return short if len(short) <= SHORT_CHARS else json.dumps(body, ensure_ascii=False, indent=2)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
