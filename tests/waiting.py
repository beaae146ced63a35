"""Waiting for something that happens in another process or thread, with a limit."""

import time
from collections.abc import Callable


def until(holds: Callable[[], bool], what: str, *, within_s: float, every_s: float = 0.05) -> None:
    """Look until it holds, or fail with its name."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(every_s)
