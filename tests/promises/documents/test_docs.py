"""The commands of README.md and docs/api.md run as they stand, against a real web and worker."""

import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from standardwebhooks import WebhookVerificationError

from orders.models import Order, Refund, Stock
from tests.doubles.edges import WebhookSink
from tests.orders.books import books_balance
from tests.promises.documents.blocks import blocks, output_of
from tests.promises.processes import Stack
from tests.rooms import CHECKOUT
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


def walked(page: str, stack: Stack, **environment: str) -> str:
    """What the page's commands say, run in one shell from top to bottom; each of them succeeds."""
    commands = "".join(block for block in blocks(page, "sh") if "curl" in block or "api " in block)
    environment = {
        **stack.environment,
        "SHOP": f"http://127.0.0.1:{stack.start_web().port}",
        "PATH": os.defpath,  # a stranger's, without .venv
        **environment,
    }
    stack.start("worker")
    return output_of(commands, environment)


def test_the_walk_of_the_readme_places_an_order_and_refunds_it(stack: Stack) -> None:
    output = walked("README.md", stack)
    assert '"type":"order.confirmed"' in output
    until(lambda: Refund.objects.get().state == "succeeded", "the money is given back", within_s=30)
    order = Order.objects.get()
    assert (order.external_id, order.payment_state, order.refunded) == ("walk-1", "refunded", 900)
    assert (Stock.objects.get(sku="UNI").available, books_balance()) == (10, True)


@pytest.mark.soak
def test_the_commands_and_the_snippet_of_the_api_page_do_what_it_says(
    stack: Stack, sink: WebhookSink
) -> None:
    output = walked("docs/api.md", stack, HOOKS=sink.url)
    assert "\n304\n" in output
    assert '"type": "/problems/invalid"' in output
    assert_orders_end_as_the_page_says()
    assert_goods_move_as_the_page_says()
    assert '{"dry_run":true,"total":1,"ok":1,"failed":0,"errors":[],"errors_left_out":0}' in output
    assert "Dry run: 1 orders, 1 ok, 0 refused." in output
    imported = Order.objects.filter(external_id="docs/4", captured=2550)
    until(imported.exists, "the imported order is paid", within_s=30)
    refund = Refund.objects.filter(order__external_id="docs/1")
    until(lambda: refund.get().state == "succeeded", "the money is given back", within_s=30)
    assert_the_snippet_verifies(sink, output)


def assert_orders_end_as_the_page_says() -> None:
    first, second = (Order.objects.get(external_id=f"docs/{number}") for number in (1, 2))
    assert (first.state, first.fulfilment_state, first.units) == ("completed", "full", 1), (
        "the other is refunded"
    )
    assert second.state == "cancelled"


def assert_goods_move_as_the_page_says() -> None:
    third = Order.objects.get(external_id="docs/6")
    assert (third.state, third.reason) == ("completed", "the present broke")
    units = [(line.fulfilled, line.withdrawn, line.returned) for line in third.lines.all()]
    assert units == [(2, 0, 1), (0, 1, 0)]
    back, mistake = (Order.objects.get(external_id=f"docs/{name}") for name in ("back", "mistake"))
    line, [come] = back.lines.get(), back.returns.all()
    assert (line.announced, line.returned, line.refunded, come.state) == (0, 1, 120, "received")
    assert (back.shipping_refunded, mistake.state) == (200, "confirmed")


def assert_the_snippet_verifies(sink: WebhookSink, output: str) -> None:
    """The webhook of an order and a test, with the secret that was printed; not a changed body."""
    for kind in (b"docs/3", b"webhook.test"):
        until(
            partial(any_holds, sink, kind), f"the webhook of {kind.decode()} arrives", within_s=30
        )
    headers, body = next(one for one in sink.heard if b"docs/3" in one[1])
    secret, _new = re.findall(r"whsec_[^\"]+", output)
    assert snippet(secret, headers, body)[0] == headers["webhook-id"]
    with pytest.raises(WebhookVerificationError):
        snippet(secret, headers, body.replace(b"docs/3", b"docs/4"))


def any_holds(sink: WebhookSink, text: bytes) -> bool:
    return any(text in body for _, body in sink.heard)


def snippet(secret: str, headers: dict[str, str], body: bytes) -> tuple[str, Any]:
    [code] = blocks("docs/api.md", "python")
    page: dict[str, Any] = {}
    exec(code, page)
    heard: tuple[str, Any] = page["heard"](secret, headers, body)
    assert heard[1]["external_id"] == "docs/3"
    return heard


PARTNER = """
class PartnerAway(Exception): pass
def ask_partner(email): return 3
"""


@pytest.mark.soak
def test_the_app_of_the_readme_is_one_that_a_newcomer_can_write(tmp_path: Path) -> None:
    """In a copy of the checkout: startapp, the files, the migration, the tests."""
    folder = tmp_path / "kaiten"
    shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "dist"))
    (folder / ".venv").symlink_to(CHECKOUT / ".venv")
    own = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/loyalty_{os.getpid()}").geturl()
    alone = {name: value for name, value in os.environ.items() if "XDIST" not in name}

    def run(*command: str, **environment: str) -> str:
        ended = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env={**alone, **environment},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    run("manage.py", "startapp", "loyalty")
    settings = folder / "config" / "settings.py"
    settings.write_text(settings.read_text().replace('"orders",', '"orders",\n    "loyalty",', 1))
    (folder / "loyalty" / "partner.py").write_text(PARTNER)
    for block in blocks("README.md", "python"):
        heading, text = block.split("\n", 1)
        (folder / heading.removeprefix("# ")).write_text(text)
    assert "Create model Points" in run("manage.py", "makemigrations", "loyalty")
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "loyalty/tests.py")
    assert "2 passed" in run(*words, DATABASE_URL=own)
