"""The Procfile's processes on a database of their own, and a browser that watches for errors."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Response, sync_playwright
from psycopg import sql

from tests.promises.processes import Stack
from tests.waiting import until

DATABASE = "kaiten_e2e" + os.environ.get("PYTEST_XDIST_WORKER", "")  # each has its own stack
BROKER_DATABASE = 8
READY_LIMIT_S = 60
ACTION_LIMIT_MS = 20_000
REFUSED_PAGE = re.compile(
    r"Failed to load resource: the server responded with a status of (404|409|422) "
)

Visit = Callable[..., BrowserContext]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stack keeps its logs, and what was seeded."""
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="session")
def site(folder: Path, broker_url: str) -> Iterator[str]:
    """The address of a running, seeded shop: release, web and worker as the Procfile has them."""
    stack = Stack(environment_on_a_fresh_database(broker_url), folder)
    stack.run("manage.py", "release")
    stack.run("manage.py", "seed", "--secrets", f"{folder}/demo.json")
    try:
        web = stack.start_web()
        stack.start("worker", PORT=str(web.port))  # where it says that the bank is
        until(lambda: web.answers("/readyz"), "the shop is ready", within_s=READY_LIMIT_S)
        yield f"http://127.0.0.1:{web.port}"
    finally:
        stack.stop()
        stack.print_last_words()


@pytest.fixture(scope="session")
def password(site: str, folder: Path) -> str:
    """Of the seeded staff member."""
    return str(json.loads((folder / "demo.json").read_text())["password"])


@pytest.fixture(scope="session")
def api_key(site: str, folder: Path) -> str:
    """Of the demo shop's client."""
    return str(json.loads((folder / "demo.json").read_text())["api_key"])


def environment_on_a_fresh_database(broker_url: str) -> dict[str, str]:
    """And with another database of the broker."""
    database = urlsplit(settings.DATABASE_URL)
    broker = urlsplit(broker_url)
    if broker.scheme.startswith("redis"):
        broker = broker._replace(path=f"/{BROKER_DATABASE}")
    with psycopg.connect(database.geturl(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE))
        )
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    return {
        "DATABASE_URL": database._replace(path=f"/{DATABASE}").geturl(),
        "BROKER_URL": broker.geturl(),
        "DEBUG": "1",
        "SHOP_WITHDRAWAL_DAYS": "14",
    }


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium")
        )
        yield chromium
        chromium.close()


@pytest.fixture
def visit(site: str, browser: Browser) -> Iterator[Visit]:
    """Opens a browser window of a new visitor; whatever its console complains of fails the test."""
    complaints: list[str] = []
    windows: list[BrowserContext] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not REFUSED_PAGE.match(message.text):
            complaints.append(f"{message.location.get('url')}: {message.text}")

    def complain_of_static(answer: Response) -> None:
        if "/static/" in answer.url and answer.status >= 400:
            complaints.append(f"{answer.url}: {answer.status}")

    def opened(*, locale: str = "en-GB", **options: Any) -> BrowserContext:
        window = browser.new_context(base_url=site, locale=locale, **options)
        window.set_default_timeout(ACTION_LIMIT_MS)
        window.on("console", listen)
        window.on("response", complain_of_static)
        window.on("weberror", lambda error: complaints.append(str(error.error)))
        windows.append(window)
        return window

    yield opened
    for window in windows:
        window.close()
    assert complaints == []
