"""Python reads this at its start where PYTHONPATH leads here: whoever asks the network for anything
fails.
"""

import sys


def refuse(event: str, args: tuple[object, ...]) -> None:
    if event in (
        "socket.connect",
        "socket.bind",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.sendto",
    ):
        raise OSError(f"a build has no network, and this one wanted {event}")


sys.addaudithook(refuse)
