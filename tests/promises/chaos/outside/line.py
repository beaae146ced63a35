"""A line between a dyno and a server, which can break: `python -m … PORT TARGET_PORT`. It runs
until it is killed.

SIGUSR1 cuts all connections. SIGUSR2 loses every answer for a moment and then cuts: what the server
did meanwhile, a COMMIT for instance, its client never heard of. SIGSTOP stalls everything, SIGKILL
refuses new connections too.
"""

import asyncio
import signal
import sys
from typing import cast

HOST = "127.0.0.1"
DEAF_S = 0.2


class Line:
    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.ends: set[End] = set()
        self.loses_answers = False

    async def run(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self.cut)
        # At once, and not when the loop comes to it: what is asked after the signal gets no answer
        # any more.
        signal.signal(signal.SIGUSR2, lambda *_: self.lose_answers(loop))
        server = await loop.create_server(lambda: Near(self), HOST, port)
        await server.serve_forever()

    def lose_answers(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loses_answers = True
        loop.call_soon_threadsafe(loop.call_later, DEAF_S, self.cut)

    def cut(self) -> None:
        for end in list(self.ends):
            end.transport.abort()
        self.loses_answers = False


class End(asyncio.Protocol):
    """One of the two connections that a line joins."""

    transport: asyncio.Transport

    def __init__(self, joined_by: Line) -> None:
        self.joined_by = joined_by
        self.other: End | None = None
        self.waiting: list[bytes] = []  # what came before the other end was there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.joined_by.ends.add(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.waiting.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.joined_by.ends.discard(self)
        if self.other is not None:
            self.other.transport.close()


class Near(End):
    """The dyno's end; it reaches for the server as soon as somebody calls."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.task = asyncio.get_running_loop().create_task(self._reach())

    async def _reach(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, far = await loop.create_connection(
                lambda: Far(self.joined_by), HOST, self.joined_by.target_port
            )
        except OSError:
            self.transport.abort()
            return
        self.other, far.other = far, self
        if self.transport.is_closing():
            far.transport.abort()
        for data in self.waiting:
            far.transport.write(data)


class Far(End):
    """The server's end."""

    def data_received(self, data: bytes) -> None:
        if not self.joined_by.loses_answers:
            super().data_received(data)


if __name__ == "__main__":
    own_port, target_port = sys.argv[1:]
    asyncio.run(Line(int(target_port)).run(int(own_port)))
