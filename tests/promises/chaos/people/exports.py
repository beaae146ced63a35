"""What became of the exports, and whether another shop could take one in."""

import json
from collections.abc import Callable
from typing import Any

from orders.exports.models import Export
from orders.models import ApiKey, Client, Order
from tests.promises.chaos.proof.evidence import Rows
from tests.promises.processes import Web


def exports_read(web: Web, key: str, *, come_to_rest: Callable[[], None]) -> Rows:
    """Those that were asked for in between, and one of all orders at which nobody has to look."""
    before: Rows = [
        (str(row.pk), row.state, row.orders, row.orders, 0) for row in Export.objects.all()
    ]
    asked = {"Authorization": f"Bearer {key}", "Idempotency_Key": "the last export"}
    _, _, begun = web.ask("POST", "/v1/exports/orders?format=ndjson&held=false", **asked)
    come_to_rest()
    _, _, export = web.ask("GET", begun["links"]["self"], **asked)
    tried = [tried_elsewhere(web, key, path) for path in export["links"]["files"]]
    for one in tried:
        print(*one["errors"], sep="\n", end="")
    total, failed = (sum(one[word] for one in tried) for word in ("total", "failed"))
    in_book = Order.objects.filter(held=False).count()
    return [*before, (export["id"], export["state"], in_book, total, failed)]


def tried_elsewhere(web: Web, key: str, path: str) -> dict[str, Any]:
    """What another client's import would say of this file; numbers are given once."""
    stranger = ApiKey.objects.issue(Client.objects.create(name=path), [])
    _, _, file = web.raw("GET", path, None, {"Authorization": f"Bearer {key}"})
    orders = [json.loads(line) for line in file.splitlines()]
    theirs = "\n".join(json.dumps({**order, "number": None}) for order in orders)
    headers = {
        "Authorization": f"Bearer {stranger}",
        "Content-Type": "application/x-ndjson",
        "Idempotency-Key": "k",
    }
    _, _, body = web.raw("POST", "/v1/imports?quiet=true&dry_run=true", theirs, headers)
    tried: dict[str, Any] = json.loads(body)
    return tried
