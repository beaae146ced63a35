"""How long to wait before the next try, or before the next ring. Functions of numbers alone."""

import random


def delay_s(tries: int, *, base_s: float, cap_s: float) -> float:
    """Seconds to wait after the `tries`-th failure (from 1): they double up to the cap, and half of
    them is random.
    """
    full = min(cap_s, base_s * 2.0 ** min(tries - 1, 30))
    return full * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing


def ring_delay_s(rings: int, *, base_s: float, cap_s: float) -> float:
    """Seconds until the clock rings a job again that it has rung `rings` times: they double up to
    the cap.
    """
    return min(cap_s, base_s * 2.0 ** min(rings, 30))
