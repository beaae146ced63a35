"""Standard output that never holds up the launcher: what a reader does not take is kept, up to a
limit.
"""

import os
import select
import sys
import time

BACKLOG_MAX_BYTES = 1_000_000
PIECE_BYTES = 4096  # a pipe that can be written to takes this much without blocking


class Output:
    def __init__(self) -> None:
        self.descriptor = sys.stdout.fileno()
        self.backlog = bytearray()
        self.has_colour = (
            sys.stdout.isatty()
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb"
        )

    def say(self, text: str) -> None:
        self.write(f"{text}\n".encode())

    def write(self, data: bytes) -> None:
        self.backlog += data
        if len(self.backlog) > BACKLOG_MAX_BYTES:
            self.backlog[:] = (
                b"[older lines dropped: nobody read them]\n"
                + self.backlog[-BACKLOG_MAX_BYTES // 2 :]
            )
        self.flush()

    def flush(self, limit_s: float = 0) -> None:
        """Hand over what the reader takes now, or within `limit_s`. A reader that went away is no
        error.
        """
        give_up = time.monotonic() + limit_s
        while self.backlog:
            _, writable, _ = select.select(
                [], [self.descriptor], [], max(0, give_up - time.monotonic())
            )
            if not writable:
                return
            try:
                del self.backlog[: os.write(self.descriptor, self.backlog[:PIECE_BYTES])]
            except OSError:
                self.backlog.clear()
