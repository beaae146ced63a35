"""How many requests a key may make: a leaky bucket per key, in the memory of each web process.

Nothing is written and no socket is opened for it, so a limit is per process: with N of them a key
may have up to N times as much. It guards the threads of a process and is no billing.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

STANDING = "kaiten.rate_limit"  # where a request carries its key's Standing


class Standing(NamedTuple):
    """What a key has left after a request."""

    quota: int
    window_s: int
    remaining: int
    full_in_s: int  # when all of the quota is there again
    retry_after_s: int  # 0: the request is welcome

    @property
    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers writes it."""
        return {
            "RateLimit-Policy": f'"default";q={self.quota};w={self.window_s}',
            "RateLimit": f'"default";r={self.remaining};t={self.full_in_s}',
        }


class RateLimit:
    """`quota` requests at once, and as many again in the course of each window."""

    def __init__(
        self, quota: int, window_s: int, *, keys_max: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.quota, self.window_s, self.keys_max = quota, window_s, keys_max
        self._now = now
        # by key; the least recently used first
        self._full_at: OrderedDict[int, float] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: int) -> Standing:
        """Count one request, if there is room for it."""
        each_s = self.window_s / self.quota
        with self._lock:
            now = self._now()
            full_at = max(self._full_at.get(key, now), now)
            over_s = full_at + each_s - self.window_s - now
            if over_s <= each_s * 1e-6:  # floats do not add up to the last digit
                over_s, full_at = 0.0, full_at + each_s
            self._full_at[key] = full_at
            self._full_at.move_to_end(key)
            if len(self._full_at) > self.keys_max:
                self._full_at.popitem(last=False)
        left_s = self.window_s - (full_at - now)
        return Standing(
            self.quota,
            self.window_s,
            int(left_s / each_s + 1e-6),
            math.ceil(full_at - now),
            math.ceil(over_s),
        )
