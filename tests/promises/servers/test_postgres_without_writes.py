"""A Postgres that answers and may not write: orders are refused with 503, /readyz says so, and
nothing is lost.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from config.embedded.postgres import Postgres
from orders.models import ApiKey, Client, Order
from tests.promises.processes import Stack, Web
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]
TERMINATE_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
   AND backend_type = 'client backend'"""


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def set_for_new_sessions(name: str, value: str) -> Iterator[None]:
    """A setting of this database, for every session but ours: those of the dynos have to begin
    anew.
    """
    database = connection.ops.quote_name(str(connection.settings_dict["NAME"]))
    execute(f"ALTER DATABASE {database} SET {name} = {value}", TERMINATE_OTHERS)
    try:
        yield
    finally:
        execute(f"ALTER DATABASE {database} RESET {name}", TERMINATE_OTHERS)


@contextmanager
def read_only() -> Iterator[None]:
    """As after a failover, or when a platform stops writes."""
    with set_for_new_sessions("default_transaction_read_only", "on"):
        yield


@contextmanager
def without_insert() -> Iterator[None]:
    """As Heroku does it to a plan whose rows are used up."""
    execute(
        "CREATE ROLE frugal",
        "GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO frugal",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO frugal",
    )
    try:
        with set_for_new_sessions("role", "frugal"):
            yield
    finally:
        execute("DROP OWNED BY frugal", "DROP ROLE frugal")


@pytest.mark.soak
@pytest.mark.parametrize(
    "trouble", [read_only, pytest.param(without_insert, marks=pytest.mark.soak)]
)
def test_orders_are_refused_meanwhile_and_the_same_key_is_taken_afterwards(
    stack: Stack,
    shop: Client,
    stock: Any,
    order_body: Callable[..., Any],
    trouble: Callable[[], Any],
) -> None:
    stock()
    web, key = stack.start_web(), ApiKey.objects.issue(shop, [])
    worker = stack.start("worker")

    def place(number: str) -> tuple[int, str | None, Any]:
        body = order_body(external_id=number)
        status, answer, reply = web.ask(
            "POST", "/v1/orders", body, Authorization=f"Bearer {key}", Idempotency_Key=number
        )
        return status, answer.getheader("Retry-After"), reply

    assert place("before")[0] == 202
    until(
        lambda: Order.objects.filter(state="confirmed").count() == 1,
        "the first is confirmed",
        within_s=60,
    )
    with trouble():
        until(lambda: web.ask("GET", "/readyz")[0] == 503, "it is not ready any more", within_s=10)
        assert web.ask("GET", "/readyz")[2]["database"] == "no writes"
        status, retry_after, problem = place("meanwhile")
        assert (status, retry_after, problem["type"]) == (503, "5", "/problems/unavailable")
        assert web.ask("GET", "/livez")[0] == 200
    until(lambda: web.ask("GET", "/readyz")[0] == 200, "it is ready again", within_s=10)
    assert place("meanwhile")[0] == 202
    until(
        lambda: Order.objects.filter(state="confirmed").count() == 2,
        "both are confirmed",
        within_s=60,
    )
    assert worker.process.poll() is None
    assert Order.objects.count() == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of so much that a Postgres just fits. Only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        sentence = f"a file system cannot be mounted here: {made.stderr.decode().strip()}"
        pytest.fail(sentence) if os.environ.get("SKIP_NOTHING") else pytest.skip(sentence)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """A file that leaves no block of it free."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(b"\0" * 4096)
                file.flush()
        except OSError:
            pass
    return filler


@pytest.fixture
def shop_on_a_small_disk(stack: Stack, small_disk: Path) -> Iterator[tuple[Web, str]]:
    """A web dyno on a Postgres of its own, and a key; what that one holds is asked over HTTP."""
    postgres = Postgres(small_disk)
    postgres.ensure()
    try:
        stack.environment["DATABASE_URL"] = postgres.url
        stack.run("manage.py", "release")
        key = stack.run("manage.py", "apikey", "create", "shop").splitlines()[-1]
        yield stack.start_web(), key
    finally:
        stack.stop()
        postgres.stop()


@pytest.mark.soak
def test_a_full_disk_refuses_orders_until_there_is_room(
    shop_on_a_small_disk: tuple[Web, str], small_disk: Path, order_body: Callable[..., Any]
) -> None:
    web, key = shop_on_a_small_disk
    asking = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    assert web.ask("PUT", "/v1/stock/SAKE-NIGIRI", {"on_hand": 10_000}, **asking)[0] == 200
    long_name = order_body(metadata={f"{index}": "x" * 500 for index in range(50)})

    def place(number: int) -> tuple[int, Any]:
        body = long_name | {"external_id": f"o-{number}"}
        status, _, reply = web.ask(
            "POST", "/v1/orders", body, **asking, Idempotency_Key=f"k-{number}"
        )
        return status, reply

    assert place(0)[0] == 202
    filler = fill(small_disk)
    until(lambda: web.ask("GET", "/readyz")[0] == 503, "it is not ready", within_s=10)
    assert web.ask("GET", "/readyz")[2]["database"] == "no writes"
    # what fits into its last pages fits
    number = next(number for number in range(1, 100) if place(number)[0] != 202)
    status, problem = place(number)
    assert (status, problem["type"]) == (503, "/problems/unavailable")
    filler.unlink()
    until(lambda: web.ask("GET", "/readyz")[0] == 200, "it is ready again", within_s=10)
    assert place(number)[0] == 202
    placed = web.ask("GET", "/v1/orders?limit=100", **asking)[2]["data"]
    assert len(placed) == number + 1
