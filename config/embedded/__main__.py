"""`python -m config.embedded status|stop`: what runs, and the end of it."""

import sys

from config.embedded import CHECKOUT, locked, servers, stop_all
from config.embedded.server import Server
from config.start.boot import CannotStart


def main(arguments: list[str]) -> None:
    if arguments not in (["status"], ["stop"]):
        sys.exit("usage: python -m config.embedded status|stop")
    try:
        if arguments == ["stop"]:
            with locked(CHECKOUT):
                stop_all(CHECKOUT)
    except CannotStart as exc:
        sys.exit(str(exc))
    for server in servers(CHECKOUT):
        print(describe(server))  # noqa: T201


def describe(server: Server) -> str:
    if server.pid is None:
        return f"{server.name} does not run"
    return f"{server.name} runs as process {server.pid}: {server.url}"


if __name__ == "__main__":
    main(sys.argv[1:])
