"""Client generators take all of the description: one is made of it here, as docs/api.md has it, and
its calls reach a real web process.
"""

import contextlib
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from api.app import api as described_api
from api.shapes.examples import EXAMPLES
from orders.models import ApiKey, Client
from tests.promises.processes import Web
from tests.rooms import CHECKOUT
from tests.shop.everything import operations

pytestmark = pytest.mark.django_db(transaction=True)
PACKAGE = "kaiten_client"
CSV = b"sku,on_hand\nTAMAGO,50\n"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Path]:
    """The folder of a fresh client, which can be imported."""
    (tmp_path / "openapi.json").write_text(json.dumps(described_api.get_openapi_schema()))
    [settings] = re.findall(r"```yaml\n(.*?)```", (CHECKOUT / "docs/api.md").read_text(), re.DOTALL)
    (tmp_path / "client.yml").write_text(settings)
    words = "generate --path openapi.json --config client.yml --meta none --fail-on-warning"
    ended = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", *words.split(), "--output-path", PACKAGE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (ended.returncode, ended.stdout.split("\n", 1)[1].strip()) == (0, ""), ended.stdout
    sys.path.insert(0, str(tmp_path))
    yield tmp_path / PACKAGE
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def part(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


def call(operation_id: str) -> Any:
    """The module of an operation."""
    tags = {operation["operationId"]: operation["tags"][0] for _, _, operation in operations()}
    return part(f"api.{tags[operation_id]}.{operation_id}")


def test_a_generated_client_has_every_endpoint_and_its_calls_are_answered(
    made: Path, web: Web, shop: Client
) -> None:
    for _, _, operation in operations():
        assert callable(call(operation["operationId"]).sync_detailed)
    with contextlib.closing(connected(web, ApiKey.objects.issue(shop, []))) as client:
        count = part("models").StockCount(on_hand=10)
        asked = {"client": client.client, "body": count}
        assert call("count_stock").sync("SAKE-NIGIRI", **asked).on_hand == 10
        order = placed(client.client)
        assert (order.state, order.lines[0].sku) == ("received", "SAKE-NIGIRI")
        page = call("list_orders").sync(client=client.client, limit=5)
        assert [one.id for one in page.data] == [order.id]
        assert refused(client.client, order.id) == (409, "/problems/nothing-to-refund")
        file = part("types").File(payload=CSV)
        assert call("count_file").sync(client=client.client, body=file).rows == 1


class Connected:
    """A client with a key, and its connections."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def close(self) -> None:
        self.client.get_httpx_client().close()


def connected(web: Web, key: str) -> Connected:
    client = part("client").AuthenticatedClient(f"http://127.0.0.1:{web.port}", token=key)
    return Connected(client)


def placed(client: Any) -> Any:
    body = part("models").OrderInput.from_dict(EXAMPLES["place_order"]["request"]["body"])
    return call("place_order").sync(client=client, body=body, idempotency_key=str(uuid4()))


def refused(client: Any, order_id: Any) -> tuple[int, str]:
    """Of the money of an order that nobody has paid: a refusal is of its shape too."""
    body = part("models").RefundRequest(reason="late", amount=1)
    asked = {"client": client, "body": body, "idempotency_key": str(uuid4())}
    problem = call("refund_order").sync(order_id, **asked)
    return problem.status, problem.type_
