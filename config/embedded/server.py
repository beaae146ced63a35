"""What Postgres and the broker have in common as private servers of a checkout.

Each has a folder under `.local/` with its files, its port and its password, and listens on loopback
only. A running server is recognised by the process in its pid file and that process's command line,
never by a port that answers.
"""

import contextlib
import errno
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from config.start.boot import CannotStart

START_LIMIT_S = 60.0
STOP_LIMIT_S = 10.0
ANSWER_LIMIT_S = 5.0
SOCKET_LIMIT_S = 2.0
TRIES = 5
PAUSE_S = 0.5
PORTS = range(20_000, 30_000)  # below the ports that systems hand out by themselves

# Kept so that an ended server is reaped by whoever started it.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Server(ABC):
    """One server of a checkout, whose files are in `local`."""

    local: Path
    name: ClassVar[str]
    folder: ClassVar[str]
    pid_file: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    @property
    def home(self) -> Path:
        return self.local / self.folder

    @property
    def log(self) -> Path:
        return self.local / f"{self.folder}.log"

    @property
    def pid(self) -> int | None:
        """The process id while the server runs."""
        try:
            pid = int((self.home / self.pid_file).read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if self.marker in command_line(pid) else None

    @property
    def remembered(self) -> dict[str, Any]:
        """Port and password, or nothing before the first start."""
        try:
            return dict(json.loads((self.home / "kaiten.json").read_bytes()))
        except (OSError, ValueError):
            return {}

    @property
    @abstractmethod
    def url(self) -> str: ...

    @property
    @abstractmethod
    def marker(self) -> str:
        """What the command line of this very server holds and no other."""

    def ensure(self) -> None:
        """Return with the server running and answering."""
        if self.pid is not None and comes_true(self.answers, ANSWER_LIMIT_S):
            return
        self.stop()
        if not self.remembered:
            self.create()
        for tried in range(TRIES):
            # The port may be lost to another program at the last moment, and the orphans of a
            # killed server may hold its memory for a moment longer.
            time.sleep(tried * PAUSE_S)
            if self.start():
                return
            if self.lacks_room():
                break
        ending = self.log.read_bytes()[-2000:].decode(errors="replace").strip()
        raise CannotStart(f"{self.name} did not start. {self.log} ends with:\n{ending}")

    def start(self) -> bool:
        """Try once to start, on the remembered port if it is free."""
        if not is_free(self.remembered["port"]):
            remember(self.home, port=free_port(), password=self.remembered["password"])
        self.distrust_pid_file()
        process = self.spawn()
        comes_true(
            lambda: process.poll() is not None or self.is_up(process.pid) or self.lacks_room(),
            START_LIMIT_S,
        )
        if self.is_up(process.pid):
            return True
        process.kill()
        reap(process.pid)
        return False

    def spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log, filled_pipe(self.standard_input()) as standard_input:
            process = subprocess.Popen(  # noqa: S603  # the command is our own
                self.command(),
                stdin=standard_input,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the launcher, which stops us last
                **self.surroundings(),
            )
        _children.append(process)
        return process

    def lacks_room(self) -> bool:
        """Whether its log says so: then it may try for ever, and so might we."""
        return os.strerror(errno.ENOSPC).encode() in self.log.read_bytes()[-2000:]

    def is_up(self, pid: int) -> bool:
        return self.pid == pid and self.answers()

    def stop(self) -> None:
        """Return with the server gone, whether it ran or not."""
        for number in (self.stop_signal, signal.SIGKILL):
            pid = self.pid
            if pid is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if comes_true(lambda: self.pid is None, STOP_LIMIT_S):
                reap(pid)
                return
        raise CannotStart(f"{self.name} (process {self.pid}) does not stop.")

    @abstractmethod
    def answers(self) -> bool: ...

    @abstractmethod
    def create(self) -> None:
        """Make `home` with everything in it, or nothing."""

    @abstractmethod
    def command(self) -> list[str]: ...

    @abstractmethod
    def surroundings(self) -> dict[str, Any]:
        """Where and as whom it runs, in Popen's arguments."""

    def standard_input(self) -> bytes:
        return b""

    def distrust_pid_file(self) -> None:  # noqa: B027  # nothing to do is an answer
        """Keep what a dead server left from stopping the next one."""


def comes_true(condition: Callable[[], bool], limit_s: float) -> bool:
    """Wait until `condition` holds; False when it has not within `limit_s`."""
    give_up = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


def reap(pid: int) -> None:
    """See the end of a child of ours: an ending process has lost its command line before it is a
    zombie.
    """
    for child in [child for child in _children if child.pid == pid]:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=STOP_LIMIT_S)
            _children.remove(child)


def command_line(pid: int) -> str:
    """The running process's arguments joined by spaces; empty when it is gone or a zombie."""
    for child in _children:
        child.poll()
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        if Path("/proc/self").exists():
            return ""
    ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    listed = subprocess.run(  # noqa: S603
        ps, capture_output=True, text=True, check=False, timeout=10
    )
    return listed.stdout


@contextlib.contextmanager
def filled_pipe(content: bytes) -> Iterator[int]:
    """A pipe to read `content` from, which has to fit into its buffer."""
    out, into = os.pipe()
    os.write(into, content)
    os.close(into)
    try:
        yield out
    finally:
        os.close(out)


def ask(port: int, question: bytes, *, enough: bytes) -> bytes:
    """Send `question` to a port of this machine; the answer until it holds `enough` or ends."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=SOCKET_LIMIT_S) as connection:
            connection.sendall(question)
            while enough not in answer and (more := connection.recv(256)):
                answer += more
    except OSError:
        pass
    return answer


def remember(home: Path, *, port: int, password: str) -> None:
    unfinished = home / "kaiten.json.new"
    unfinished.write_text(json.dumps({"port": port, "password": password}))
    unfinished.chmod(0o600)
    unfinished.replace(home / "kaiten.json")


def free_port() -> int:
    for _ in range(100):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        if is_free(port):
            return port
    raise CannotStart(f"no port between {PORTS.start} and {PORTS.stop} is free.")


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def package_folder(package: str) -> Path:
    """Where an installed package is, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise CannotStart(f"the package {package} is not installed. Run `bin/dev --setup`.")
    return Path(spec.origin).parent
