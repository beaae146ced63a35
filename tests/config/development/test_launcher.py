"""`bin/dev` with processes of our own making in place of Kaiten's."""

import ctypes
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.machine.ports import free_port
from tests.rooms import CHECKOUT
from tests.waiting import until

WAIT_S = 30.0
PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE = 24, 10  # <linux/prctl.h>, <linux/capability.h>
MANAGE = """
import json, os, sys, time
if sys.argv[1] == "release":
    time.sleep(float(os.environ.get("RELEASE_TAKES_S", 0)))
    print("released")
    sys.exit(os.environ.get("RELEASE_SAYS"))
demo = {"api_key": "kaiten_1", "username": "admin", "password": "p w"}
open(sys.argv[3], "w").write(json.dumps(demo))
"""
WEB = """
import http.server, os
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Ready).serve_forever()
"""
SLEEP = "import time; time.sleep(600)"
PARENT = (
    f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); "
    "time.sleep(600)"
)


@dataclass
class Stack:
    """A checkout with a Procfile, and the launchers started in it."""

    folder: Path
    environment: dict[str, str]
    launchers: list[subprocess.Popen[str]] = field(default_factory=list)

    def write(self, *, web: str = WEB, worker: str = SLEEP) -> None:
        for name, text in {"manage.py": MANAGE, "web.py": web, "worker.py": worker}.items():
            (self.folder / name).write_text(text)
        lines = (
            "release: python manage.py release",
            "web: python web.py",
            "worker: python 'worker.py'",
        )
        (self.folder / "Procfile").write_text("\n".join(lines))

    def start(
        self, preexec_fn: Callable[[], None] | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        launcher = subprocess.Popen(
            [sys.executable, self.folder / "bin" / "launcher.py"],
            preexec_fn=preexec_fn,  # noqa: PLW1509  # the tests run in one thread
            env={**self.environment, **environment},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.launchers.append(launcher)
        return launcher

    def processes(self) -> dict[int, str]:
        """What runs in the checkout, but for the launchers."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if path.joinpath("cwd").resolve() == self.folder and (
                    command := path.joinpath("cmdline").read_text()
                ):
                    found[int(path.name)] = command
            except OSError:
                continue
        return found


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    folder = tmp_path / "check out"
    shutil.copytree(CHECKOUT / "bin", folder / "bin")
    shutil.copytree(CHECKOUT / "config" / "embedded", folder / "config" / "embedded")
    (folder / "config" / "start").mkdir()
    for name in ("boot.py", "procfile.py"):
        shutil.copy(CHECKOUT / "config" / "start" / name, folder / "config" / "start")
    (folder / ".local").mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DATABASE_URL": "postgres://elsewhere/x",
        "REDIS_URL": "redis://elsewhere/0",
    }
    stack = Stack(folder, environment)
    stack.write()
    yield stack
    for launcher in stack.launchers:
        launcher.kill()
        launcher.communicate()
    for pid in stack.processes():
        os.kill(pid, signal.SIGKILL)


def first_port_for_everybody() -> int:
    """The lowest port for which Linux asks no privilege."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except OSError:
        return 0


def listen_as_anybody() -> None:
    """Give up what root may more than others about ports; what runs next cannot get it back."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0)


def ready(launcher: subprocess.Popen[str]) -> list[str]:
    """The lines up to the one that says that everything runs."""
    assert launcher.stdout
    lines = []
    for line in launcher.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("Ctrl-C"):
            return lines
    raise AssertionError(f"never ready: {lines} {launcher.stderr and launcher.stderr.read()}")


def test_the_ready_line_stands_alone_and_the_curl_line_is_complete(stack: Stack) -> None:
    lines = ready(stack.start())
    site = next(line for line in lines if line.startswith("Kaiten is ready")).removeprefix(
        "Kaiten is ready: "
    )
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", site)
    assert f"Log in at {site}/admin/ as admin with the password p w" in lines
    words = shlex.split(next(line for line in lines if line.startswith("curl ")))
    assert f"{site}/v1/orders" in words
    assert "Authorization: Bearer kaiten_1" in words
    assert any(re.fullmatch(r"Idempotency-Key: [0-9a-f-]{36}", word) for word in words)
    order = json.loads(words[words.index("-d") + 1])
    assert order["total"] == sum(
        line["quantity"] * line["unit_price"] + line["tax"] for line in order["lines"]
    )


def test_the_curl_line_pays_as_the_provider_of_the_env_file_wants_it(stack: Stack) -> None:
    (stack.folder / ".env").write_text("PAYMENT_PROVIDER=stripe\n")
    command = next(line for line in ready(stack.start()) if line.startswith("curl "))
    assert json.loads(shlex.split(command)[-1])["payment"] == {"token": "pm_card_visa"}


def test_a_password_that_somebody_has_changed_is_not_told(stack: Stack) -> None:
    (stack.folder / "manage.py").write_text(MANAGE.replace('"p w"', "None"))
    assert [line for line in ready(stack.start()) if "as admin with its own password" in line]


def test_the_release_line_ends_before_web_begins(stack: Stack) -> None:
    stack.write(web=f"print('web begins', flush=True)\n{WEB}")
    lines = ready(stack.start())
    assert lines.index("release | released") < lines.index("web     | web begins")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_process_of_every_group(stack: Stack, number: signal.Signals) -> None:
    stack.write(worker=PARENT)
    launcher = stack.start()
    ready(launcher)
    until(lambda: len(stack.processes()) == 3, "the worker has its child", within_s=WAIT_S)
    launcher.send_signal(number)
    _, complaints = launcher.communicate(timeout=WAIT_S)
    assert (launcher.returncode, complaints) == (0, "")
    assert stack.processes() == {}
    assert list(stack.folder.glob(".local/dev-*")) == []


def test_a_second_ctrl_c_kills_at_once(stack: Stack) -> None:
    stubborn = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); "
        f"{SLEEP}"
    )
    stack.write(worker=stubborn)
    launcher = stack.start()
    assert "worker  | deaf" in ready(launcher)
    launcher.send_signal(signal.SIGINT)
    time.sleep(1)
    assert len(stack.processes()) == 1
    launcher.send_signal(signal.SIGINT)
    output, _ = launcher.communicate(timeout=WAIT_S / 2)
    assert "worker did not stop and was killed." in output
    assert launcher.returncode == 0
    assert stack.processes() == {}


def test_a_process_that_ends_by_itself_stops_the_others(stack: Stack) -> None:
    stack.write(worker="import time; time.sleep(2); raise SystemExit('out of fish')")
    launcher = stack.start()
    output, complaints = launcher.communicate(timeout=WAIT_S)
    assert launcher.returncode == 1
    assert "worker  | out of fish" in output
    assert complaints == "worker ended by itself with status 1.\n"
    assert stack.processes() == {}


def until_it_says(launcher: subprocess.Popen[str], text: str) -> str:
    """The line with this text; the output ends if it never comes."""
    assert launcher.stdout
    for line in launcher.stdout:
        if text in line:
            return line.rstrip("\n")
    raise AssertionError(f"never said: {text}")


@pytest.mark.soak
@pytest.mark.timeout(90)
def test_web_and_worker_start_anew_when_the_code_changes(stack: Stack) -> None:
    launcher = stack.start()
    ready(launcher)
    stack.write(worker=f"print('fresh fish', flush=True)\n{SLEEP}")
    assert until_it_says(launcher, "changed:").startswith("manage.py and 2 more changed: web and")
    assert until_it_says(launcher, "fresh") == "worker  | fresh fish"
    stack.write(worker="raise SystemExit('bad fish')")
    until_it_says(launcher, "worker ended with status 1; it waits for another change.")
    assert launcher.poll() is None
    (stack.folder / "migrations").mkdir()
    (stack.folder / "migrations" / "0002_fish.py").write_text("")
    until_it_says(launcher, "migrations/0002_fish.py changed")
    until_it_says(launcher, "released")
    until_it_says(launcher, "bad fish")


@pytest.mark.timeout(90)
def test_what_is_no_part_of_the_product_may_change(stack: Stack) -> None:
    launcher = stack.start()
    ready(launcher)
    for folder in ("tests", ".venv", "orders/__pycache__"):
        (stack.folder / folder).mkdir(parents=True)
        (stack.folder / folder / "new.py").write_text("")
    (stack.folder / "orders" / "page.html").write_text("")
    assert until_it_says(launcher, "changed:").startswith("orders/page.html changed: web and")


def test_a_failed_release_says_its_own_sentence_and_starts_nothing(stack: Stack) -> None:
    stack.write(web="print('web begins', flush=True)")
    launcher = stack.start(RELEASE_SAYS="Kaiten cannot start: no rice.")
    output, complaints = launcher.communicate(timeout=WAIT_S)
    assert launcher.returncode == 1
    assert "release | Kaiten cannot start: no rice." in output
    assert "web begins" not in output
    assert "Traceback" not in output + complaints


def test_a_taken_port_that_was_asked_for_is_named(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        launcher = stack.start(PORT=str(port))
        _, complaints = launcher.communicate(timeout=WAIT_S)
    assert launcher.returncode == 1
    assert complaints.startswith(f"Port {port} is taken.")


@pytest.mark.skipif(first_port_for_everybody() < 2, reason="here anybody may listen on every port")
def test_a_port_that_only_root_may_listen_on_is_not_called_taken(stack: Stack) -> None:
    port = first_port_for_everybody() - 1
    launcher = stack.start(preexec_fn=listen_as_anybody, PORT=str(port))
    _, complaints = launcher.communicate(timeout=WAIT_S)
    assert launcher.returncode == 1
    assert complaints == f"Port {port} is only for root. Set PORT to a number from 1024 on.\n"


def test_a_second_start_takes_the_next_free_port(stack: Stack) -> None:
    sites = [
        line
        for _ in range(2)
        for line in ready(stack.start())
        if line.startswith("Kaiten is ready")
    ]
    assert len(set(sites)) == 2


@pytest.mark.soak
def test_two_starts_at_once_take_different_ports(stack: Stack) -> None:
    """Both have chosen theirs before a web process listens."""
    both = [stack.start(RELEASE_TAKES_S="3") for _ in range(2)]
    sites = [line for one in both for line in ready(one) if line.startswith("Kaiten is ready")]
    assert len(set(sites)) == 2


@pytest.mark.soak
def test_of_two_starts_at_once_that_ask_for_one_port_one_says_so(stack: Stack) -> None:
    port = str(free_port())
    both = [stack.start(RELEASE_TAKES_S="3", PORT=port) for _ in range(2)]
    until(lambda: any(one.poll() is not None for one in both), "one of both ends", within_s=WAIT_S)
    loser, winner = sorted(both, key=lambda one: one.poll() is None)
    assert loser.communicate() == (
        "",
        f"Port {port} is wanted by another bin/dev. Set PORT to another number.\n",
    )
    assert f"Kaiten is ready: http://127.0.0.1:{port}" in ready(winner)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start does it")
def test_processes_do_not_outlive_a_killed_launcher(stack: Stack) -> None:
    launcher = stack.start()
    ready(launcher)
    launcher.kill()
    until(lambda: stack.processes() == {}, "no process is left", within_s=WAIT_S)


def test_the_next_start_stops_what_a_killed_launcher_left(stack: Stack) -> None:
    stack.write(worker=PARENT)
    launcher = stack.start()
    ready(launcher)
    before = stack.processes()
    launcher.kill()
    launcher.wait()
    assert "Stopped what a killed bin/dev had left running." in ready(stack.start())
    assert not set(before) & set(stack.processes())


def test_a_stranger_with_a_recorded_number_is_left_alone(stack: Stack) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True) as stranger:
        record = stack.folder / ".local" / "dev-1.json"
        record.write_text(json.dumps([[2**22 + 1, "1"], [stranger.pid, "1"]]))
        ready(stack.start())
        assert not record.exists()
        assert stranger.poll() is None
        stranger.kill()


def test_a_record_that_a_full_disk_has_torn_is_dropped(stack: Stack) -> None:
    records = [stack.folder / ".local" / f"dev-{number}.json" for number in (1, 2)]
    records[0].write_text("")
    records[1].write_text("[[1, ")
    ready(stack.start())
    assert [record.exists() for record in records] == [False, False]


@pytest.mark.soak
def test_a_reader_that_does_not_read_holds_nothing_up(stack: Stack) -> None:
    stack.write(
        worker="import pathlib, time\n"
        "while not pathlib.Path('nobody-reads').exists(): time.sleep(0.05)\n"
        "while True: print('x' * 1000)"
    )
    launcher = stack.start()
    ready(launcher)
    (stack.folder / "nobody-reads").touch()
    time.sleep(1)
    launcher.send_signal(signal.SIGTERM)
    until(lambda: launcher.poll() is not None, "the launcher ends", within_s=WAIT_S)
    assert launcher.returncode == 0
