"""The web and worker dynos as a platform runs them: without DEBUG, behind a router, in 512 MB."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from config.logs import SECRET
from orders.models import ApiKey, Client, Order
from tests.promises.processes import Stack, Tree, Web
from tests.rooms import CHECKOUT
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
WITHOUT_IPV6 = Path(__file__).parent / "without" / "ipv6"
WITHOUT_NETWORK = Path(__file__).parent / "without" / "network"
LOGFMT = re.compile(
    r'at=\S+ level=[a-z]+ logger=[\w.]+ event=("(\\.|[^"\\])*"|\S+)'
    r'( [a-z_]+=("(\\.|[^"\\])*"|\S+))*'
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a build leaves behind: it knows no variable and reaches nobody."""
    folder = tmp_path_factory.mktemp("build") / "static"
    environment = {
        "PATH": os.environ["PATH"],
        "DYNO": "build",
        "DJANGO_SETTINGS_MODULE": "tests.promises.settings.production",
        "BUILT_STATIC": str(folder),
        "PYTHONPATH": str(WITHOUT_NETWORK),
    }
    command = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
    ended = subprocess.run(
        command,
        env=environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def slug(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a dyno: what requirements.txt installs, and nothing else."""
    venv = tmp_path_factory.mktemp("slug") / "venv"
    environment = {**os.environ, "VIRTUAL_ENV": str(venv)}
    uv = Path(sys.executable).with_name("uv")
    commands: list[list[str | Path]] = [
        [uv, "venv", "--quiet", "--python", sys.executable, venv],
        [uv, "pip", "install", "--quiet", "--require-hashes", "-r", CHECKOUT / "requirements.txt"],
    ]
    for command in commands:
        ended = subprocess.run(
            command,
            env=environment,
            cwd=venv.parent,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
    return venv / "bin"


@pytest.fixture
def production(stack: Stack, built: Path) -> Stack:
    """A stack whose processes run as on a platform."""
    stack.environment |= {
        "DEBUG": "",
        "DYNO": "web.1",
        "SECRET_KEY": "k" * 50,
        "BUILT_STATIC": str(built),
        "DJANGO_SETTINGS_MODULE": "tests.promises.settings.production",
    }
    return stack


class Answer:
    def __init__(self, answer: HTTPResponse) -> None:
        self.status, self.headers = answer.status, answer.headers
        self.text = answer.read().decode()

    def __getitem__(self, name: str) -> str:
        return str(self.headers[name])


def get(web: Web, path: str, *, host: str = "127.0.0.1", **headers: str) -> Answer:
    with closing(HTTPConnection(host, web.port, timeout=15)) as connection:
        connection.request(
            "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        return Answer(connection.getresponse())


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.soak
def test_a_build_needs_no_variable_and_no_network(built: Path) -> None:
    assert len(list(built.glob("kaiten.????????????.css"))) == 1
    assert list(built.glob("kaiten.*.css.gz"))


def test_a_web_dyno_answers_the_router_over_connections_that_it_keeps(production: Stack) -> None:
    web = production.start_web()
    for host in ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]:
        assert get(web, "/livez", host=host).status == 200
    with closing(HTTPConnection("127.0.0.1", web.port, timeout=15)) as kept:
        for number in range(2):
            kept.request(
                "GET",
                "/readyz",
                headers={"X-Request-ID": f"router-{number}", "X-Forwarded-Proto": "https"},
            )
            answer = kept.getresponse()
            answer.read()
            assert (answer.status, answer.getheader("X-Request-ID")) == (200, f"router-{number}")
            assert kept.sock is not None
    assert unix_sockets(web.tree) == []


def test_pages_are_for_https_and_their_files_for_ever(production: Stack) -> None:
    web = production.start_web()
    page = get(web, "/", X_Forwarded_Proto="https")
    assert page["Strict-Transport-Security"] == "max-age=2592000"
    cookies = page.headers.get_all("Set-Cookie", [])
    assert cookies
    assert all("; Secure" in cookie for cookie in cookies)
    style = re.search(r'href="(/static/kaiten\.[0-9a-f]+\.css)"', page.text)
    assert style
    file = get(web, style[1], X_Forwarded_Proto="https")
    assert file["Cache-Control"] == "max-age=315360000, public, immutable"
    plain = get(web, "/?a=b", X_Forwarded_Proto="http")
    assert (plain.status, plain["Location"]) == (301, f"https://127.0.0.1:{web.port}/?a=b")


def test_a_web_dyno_that_is_stopped_ends_what_it_has_begun_and_each_line_was_one_event(
    production: Stack,
    shop: Client,
    stock: Callable[..., Any],
    order_body: Callable[..., dict[str, Any]],
) -> None:
    stock()
    key, web = ApiKey.objects.issue(shop, []), production.start_web()
    headers = {
        "Authorization": f"Bearer {key}",
        "Idempotency-Key": "k",
        "Content-Type": "application/json",
    }
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(web.ask, "POST", "/v1/orders", order_body(), **headers, Prefer="wait=3")
        until(
            Order.objects.exists,
            "the order is taken, and its client waits for a worker",
            within_s=15,
        )
        web.tree.signal(signal.SIGTERM)  # to every process, as a platform does
        status, _, order = asked.result(timeout=20)
    assert (status, order["state"]) == (202, "received")
    assert web.tree.process.wait(timeout=25) == 0
    output = web.tree.output()
    assert [line for line in output.splitlines() if not LOGFMT.fullmatch(line)] == []
    assert "method=POST route=/v1/orders status=202" in output
    assert SECRET.search(output) is None


def test_a_web_dyno_answers_where_there_is_no_ipv6(production: Stack) -> None:
    web = production.start_web(PYTHONPATH=str(WITHOUT_IPV6))
    assert f"Listening at: http://0.0.0.0:{web.port}" in web.tree.output()


@pytest.mark.soak
@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="only Linux says what a process weighs"
)
def test_web_and_worker_need_only_their_requirements_and_have_room_in_512_mb(
    production: Stack,
    slug: Path,
    shop: Client,
    stock: Callable[..., Any],
    order_body: Callable[..., dict[str, Any]],
) -> None:
    key = ApiKey.objects.issue(shop, [])
    stock(on_hand=1000)
    production.programs = slug
    web, worker = production.start_web(), production.start("worker")
    for number in range(40):
        body = order_body(external_id=f"o-{number}")
        answer = web.ask(
            "POST",
            "/v1/orders",
            body,
            Authorization=f"Bearer {key}",
            Content_Type="application/json",
            Idempotency_Key=f"k-{number}",
        )
        assert answer[0] == 202
        assert get(web, "/v1/openapi.json").status == 200
    until(
        lambda: Order.objects.filter(state="confirmed").count() == 40,
        "every order is confirmed",
        within_s=60,
    )
    weights = {"web": megabytes(web.tree), "worker": megabytes(worker)}
    print(f"PSS in MB: {weights}")
    assert all(30 < weight < 400 for weight in weights.values()), weights


def pids(tree: Tree) -> list[int]:
    """The processes of a tree: those of its group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            group = stat.read_text().rpartition(")")[2].split()[2]
        except OSError:
            continue
        if int(group) == tree.process.pid:
            found.append(int(stat.parent.name))
    return found


def megabytes(tree: Tree) -> int:
    """What the tree takes of the machine; memory that processes share counts once."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids(tree)]
    return (
        sum(
            int(re.findall(r"^Pss: +(\d+) kB", rollup, flags=re.MULTILINE)[0]) for rollup in rollups
        )
        // 1024
    )


def unix_sockets(tree: Tree) -> list[str]:
    """The paths of the sockets in the file system that the tree holds."""
    held = set()
    for link in [link for pid in pids(tree) for link in Path(f"/proc/{pid}/fd").iterdir()]:
        with suppress(FileNotFoundError):  # closed since it was listed, so not held
            held.add(os.readlink(link))
    rows = [row.split() for row in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return [row[7] for row in rows if len(row) > 7 and f"socket:[{row[6]}]" in held]
