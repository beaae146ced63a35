"""The Procfile under foreman, which the article names, with nothing but a `.env`."""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from orders.models import ApiKey, Client, Order
from tests.machine.debian import program
from tests.machine.ports import free_port
from tests.promises.processes import PROGRAMS, Stack, Tree, Web
from tests.rooms import CHECKOUT
from tests.waiting import until

# foreman gives each line of a Procfile a hundred of its own; web is the second
PORTS_BETWEEN_LINES = 100
STOP_LIMIT_S = 25
NAMED = (
    "DATABASE_URL",
    "REDIS_URL",
    "EMAIL_URL",
    "DEBUG",
    "DJANGO_SETTINGS_MODULE",
    "PYTHONUNBUFFERED",
)


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(150)
def test_foreman_runs_web_and_worker_from_env_and_stops_both(
    stack: Stack,
    shop: Client,
    stock: Callable[..., Any],
    order_body: Callable[..., Any],
    tmp_path: Path,
) -> None:
    foreman = program("foreman", package="ruby-foreman")
    key = ApiKey.objects.issue(shop, [])
    stock()
    env, port = tmp_path / ".env", free_port()
    env.write_text("".join(f"{name}={stack.environment[name]}\n" for name in NAMED))
    options = ["--root", str(CHECKOUT), "--procfile", str(CHECKOUT / "Procfile"), "--env", str(env)]
    numbers = ["--port", str(port - PORTS_BETWEEN_LINES), "--timeout", str(STOP_LIMIT_S)]
    command = [foreman, "start", "--formation", "web=1,worker=1", *options, *numbers]
    tree = Tree(
        command,
        {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "LANG": "C.UTF-8"},
        tmp_path / "foreman.log",
    )
    stack.trees.append(tree)
    web = Web(tree, port)
    until(web.lives, "the web process answers on its port", within_s=60)
    status, _, _ = web.ask(
        "POST", "/v1/orders", order_body(), Authorization=f"Bearer {key}", Idempotency_Key="k"
    )
    assert status == 202
    until(
        lambda: Order.objects.filter(state="confirmed").exists(),
        "the order is confirmed",
        within_s=60,
    )
    assert {"config.gunicorn", "celery"} <= at_work()
    os.kill(tree.process.pid, signal.SIGTERM)
    tree.process.wait(timeout=STOP_LIMIT_S + 5)
    assert at_work() == set()
    assert tree.output().count("exited with code 0") == 2, "both have stopped by themselves"


def at_work() -> set[str]:
    """The programs of the processes that know this test's database from their environment."""
    mark = "{HOST}:{PORT}/{NAME}".format_map(connection.settings_dict).encode()
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes():
                found |= {
                    Path(os.fsdecode(word)).name
                    for word in (entry / "cmdline").read_bytes().split(b"\0")[:3]
                }
    return found
