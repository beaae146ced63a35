"""`bin/dev`: runs what the Procfile says on this machine, tells how to use it, and stops all of it
again.
"""

import http.client
import json
import os
import shlex
import signal
import socket
import sys
import time
import uuid
from pathlib import Path
from types import FrameType

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from output import Output  # noqa: E402  # the checkout has to be on the path first
from processes import Processes, stop_leftovers  # noqa: E402
from watcher import Watcher  # noqa: E402

from config.embedded import adopt, leave  # noqa: E402
from config.start import procfile  # noqa: E402
from config.start.boot import CannotStart  # noqa: E402

LOCAL = CHECKOUT / ".local"
DEMO = LOCAL / "demo.json"
READY_LIMIT_S = 60
ASKED_TWICE_S = 0.5  # `timeout` and terminals send one signal twice; a person needs longer
DYNOS = ("web", "worker")
COLOURS = {"web": 36, "worker": 33}
WELCOME = """\
Kaiten is ready: {site}
Log in at {site}/admin/ as {username} with {password}
Order something; pasted twice, it is still one order:
{curl}
Change the code, and web and worker start anew.
Ctrl-C stops everything."""

_claims: list[socket.socket] = []  # kept open as long as this process lives


class Stop(Exception):  # not always an error
    """The stack has to stop. The text says why; it is empty when somebody asked."""


class Launcher:
    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.output = Output()
        self.processes = Processes(LOCAL / f"dev-{os.getpid()}.json", self.write_line)
        self.asked_at: float | None = None
        self.is_impatient = False
        self.is_reloaded = False  # then a mistake in the code ends one process, and not all
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.be_asked)

    def be_asked(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked_at is None:
            self.asked_at = now
        elif number == signal.SIGINT and now - self.asked_at > ASKED_TWICE_S:
            self.is_impatient = True

    def run(self) -> int:
        """The whole life of the stack; the exit status."""
        try:
            self.start()
            while True:
                self.watch()
                self.run_what_has_changed()
        except (Stop, CannotStart) as exc:
            why = str(exc) if self.asked_at is None else ""
        finally:
            self.stop()
        if why:
            sys.stderr.write(f"{why}\n")
        return 1 if why else 0

    def start(self) -> None:
        self.procfile = procfile.commands(CHECKOUT / "Procfile")
        self.watcher = Watcher(CHECKOUT)
        if stop_leftovers(LOCAL, CHECKOUT):
            self.output.say("Stopped what a killed bin/dev had left running.")
        adopt(self.environment)
        self.environment.setdefault("DEBUG", "1")
        self.environment["PORT"] = str(choose_port(self.environment.get("PORT", "")))
        self.begin("release", self.procfile["release"])
        self.wait_for_end("release")
        self.begin_dynos()
        self.begin("seed", shlex.join(["python", "manage.py", "seed", "--secrets", str(DEMO)]))
        self.wait_for_end("seed")
        self.wait_until_ready()
        self.output.say(welcome(self.environment))

    def begin_dynos(self) -> None:
        for name in DYNOS:
            self.begin(name, self.procfile[name])

    def run_what_has_changed(self) -> None:
        """Web and worker start anew when a file of the product has changed, after the release when
        that is a migration.
        """
        changed = self.watcher.changed()
        if not changed:
            return
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        self.output.say(f"{changed[0]}{more} changed: web and worker start anew.")
        self.is_reloaded = True
        self.processes.stop(lambda: self.asked_at is not None, only=DYNOS)
        if any("migrations" in Path(name).parts for name in changed):
            self.begin("release", self.procfile["release"])
            while "release" in self.processes.running:
                self.watch(may_end="release")
        self.begin_dynos()

    def begin(self, name: str, command: str) -> None:
        try:
            self.processes.start(name, command, environment=self.environment, folder=CHECKOUT)
        except OSError as exc:
            raise Stop(f"{name} does not start: {command}: {exc.strerror}") from exc

    def wait_for_end(self, name: str) -> None:
        while name in self.processes.running:
            self.watch(may_end=name)

    def watch(self, may_end: str = "") -> None:
        """Pass on the logs for a moment. Nothing may end but one, and that with status 0."""
        self.processes.listen(0.2)
        self.output.flush()
        if self.asked_at is not None:
            raise Stop
        for name, status in self.processes.take_ended().items():
            if name == may_end and status == 0:
                continue
            if not self.is_reloaded:
                raise Stop(f"{name} ended by itself with status {status}.")
            self.output.say(f"{name} ended with status {status}; it waits for another change.")

    def wait_until_ready(self) -> None:
        give_up = time.monotonic() + READY_LIMIT_S
        while (status := readiness(int(self.environment["PORT"]))) != 200:
            self.watch()
            if time.monotonic() > give_up:
                answered = f"/readyz answers {status}" if status else "/readyz does not answer"
                raise Stop(f"web is not ready after {READY_LIMIT_S} s: {answered}.")

    def stop(self) -> None:
        """Stop the processes, then the servers if nobody else uses them."""
        if self.processes.running:
            self.output.say("Stopping …")
        for name in self.processes.stop(lambda: self.is_impatient):
            self.output.say(f"{name} did not stop and was killed.")
        leave()
        self.output.flush(1)

    def write_line(self, name: str, text: bytes) -> None:
        prefix = f"{name:<7} | "
        if self.output.has_colour:
            prefix = f"\033[{COLOURS.get(name, 35)}m{prefix}\033[0m"
        self.output.write(prefix.encode() + text + b"\n")


def choose_port(value: str) -> int:
    """The port that was asked for, or else the first free one from 8000."""
    if not value:
        return first_free_port()
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise Stop(f"PORT is {value!r}. Set it to a number between 1 and 65535.")
    try:
        try_to_listen(int(value))
    except PermissionError:
        raise Stop(f"Port {value} is only for root. Set PORT to a number from 1024 on.") from None
    except OSError:
        raise Stop(
            f"Port {value} is taken. Stop what listens there, or set PORT to another number."
        ) from None
    if not claim(int(value)):
        raise Stop(f"Port {value} is wanted by another bin/dev. Set PORT to another number.")
    return int(value)


def first_free_port() -> int:
    for port in range(8000, 8100):
        if not is_taken(port) and claim(port):
            return port
    raise Stop("No port between 8000 and 8099 is free. Set PORT to one that is.")


def claim(port: int) -> bool:
    """Whether no launcher that starts meanwhile wants this port: its web process does not listen
    there yet.

    We hold the UDP port of that number, which the kernel takes back when we die, and which no web
    process uses.
    """
    holder = socket.socket(type=socket.SOCK_DGRAM)
    try:
        holder.bind(("127.0.0.1", port))
    except OSError:
        holder.close()
        return False
    _claims.append(holder)
    return True


def is_taken(port: int) -> bool:
    try:
        try_to_listen(port)
    except OSError:
        return True
    return False


def try_to_listen(port: int) -> None:
    """Raises OSError when nobody of ours may listen there."""
    for address in ("0.0.0.0", "127.0.0.1"):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))


def readiness(port: int) -> int:
    """The status that /readyz answers with; 0 when nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def welcome(environment: dict[str, str]) -> str:
    site = f"http://127.0.0.1:{environment['PORT']}"
    demo = json.loads(DEMO.read_bytes())
    username = demo["username"]
    if demo["password"]:
        password = f"the password {demo['password']}"
    else:
        password = f"its own password; `python manage.py changepassword {username}` sets another"
    is_stripe = environment.get("PAYMENT_PROVIDER") == "stripe"
    command = curl(site, demo["api_key"], token="pm_card_visa" if is_stripe else "tok_ok")
    return WELCOME.format(site=site, username=username, password=password, curl=command)


def curl(site: str, api_key: str, *, token: str) -> str:
    """A line for a shell that orders two salmon nigiri, under a key of its own."""
    order = {
        "currency": "JPY",
        "email": "hana@example.com",
        "locale": "ja",
        "lines": [{"sku": "SAKE-NIGIRI", "quantity": 2, "unit_price": 300, "tax": 60}],
        "total": 660,
        "payment": {"token": token},
    }
    headers = {
        "Authorization": f"Bearer {api_key}",
        "Content-Type": "application/json",
        "Idempotency-Key": str(uuid.uuid4()),
    }
    words = ["curl", "-sS", f"{site}/v1/orders"]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    return shlex.join([*words, "-d", json.dumps(order, separators=(",", ":"))])


def main(arguments: list[str]) -> int:
    if arguments == ["--setup"]:
        sys.stdout.write("Kaiten is set up. Start it with bin/dev.\n")
        return 0
    if arguments:
        sys.stderr.write("usage: bin/dev [--setup]\n")
        return 2
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment["PATH"] = f"{CHECKOUT}/.venv/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return Launcher(environment).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
