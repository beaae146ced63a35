"""The Procfile's processes on a database of their own, and a browser that watches for errors."""

import http.client
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Response, sync_playwright
from psycopg import sql

CHECKOUT = Path(__file__).resolve().parents[2]
DATABASE = "kaiten_e2e" + os.environ.get("PYTEST_XDIST_WORKER", "")  # each has its own stack
BROKER_DATABASE = 8
READY_LIMIT_S = 60
STOP_LIMIT_S = 30
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
    environment = stack_environment(broker_url)
    run(environment, "python manage.py release")
    run(environment, f"python manage.py seed --secrets {folder}/demo.json")
    with ExitStack() as processes:
        for name in ("web", "worker"):
            processes.enter_context(running(environment, procfile()[name], folder / f"{name}.log"))
        wait_until_ready(int(environment["PORT"]), folder)
        yield f"http://127.0.0.1:{environment['PORT']}"


@pytest.fixture(scope="session")
def password(site: str, folder: Path) -> str:
    """Of the seeded staff member."""
    return str(json.loads((folder / "demo.json").read_text())["password"])


@pytest.fixture(scope="session")
def api_key(site: str, folder: Path) -> str:
    """Of the demo shop's client."""
    return str(json.loads((folder / "demo.json").read_text())["api_key"])


def stack_environment(broker_url: str) -> dict[str, str]:
    """Ours, with a fresh database, another database of the broker and a free port."""
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
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DATABASE_URL": database._replace(path=f"/{DATABASE}").geturl(),
        "BROKER_URL": broker.geturl(),
        "PORT": str(free_port()),
        "DEBUG": "1",
        "SHOP_WITHDRAWAL_DAYS": "14",
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def procfile() -> dict[str, str]:
    text = (CHECKOUT / "Procfile").read_text()
    return dict(re.findall(r"^(\w+):\s*(\S.*?)\s*$", text, flags=re.MULTILINE))


def run(environment: dict[str, str], command: str) -> None:
    done = subprocess.run(
        shlex.split(command),
        env=environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"


@contextmanager
def running(environment: dict[str, str], command: str, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            shlex.split(command), env=environment, cwd=CHECKOUT, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(port: int, folder: Path) -> None:
    give_up = time.monotonic() + READY_LIMIT_S
    while readiness(port) != 200:
        if time.monotonic() > give_up:
            logs = "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))
            pytest.fail(f"The shop was not ready after {READY_LIMIT_S} s:\n{logs}")
        time.sleep(0.2)


def readiness(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


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
