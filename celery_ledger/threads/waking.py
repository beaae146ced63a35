"""The way to the process of the threads from every process of its worker: a pipe, older than all of
them.
"""

import contextlib
import os

WAKE, LEAVE = b"w", b"q"
_mouth: int | None = None


def speak_into(mouth: int | None) -> None:
    """This process and those forked from it reach the threads of their worker by this pipe."""
    global _mouth  # noqa: PLW0603 - a worker has one such process at a time
    _mouth = mouth


def say(word: bytes) -> None:
    """Nothing where no such process is: a web dyno, a pool of another kind."""
    if _mouth is not None:
        with contextlib.suppress(BlockingIOError):  # then it has enough to hear
            os.write(_mouth, word)
