"""When to try again, and how long to wait between. Pure functions of numbers."""

import random


def delay_s(tries: int, *, base_s: float, cap_s: float) -> float:
    """Seconds to wait after the `tries`-th failure (from 1): doubles up to the cap, half of it
    random.
    """
    full = min(cap_s, base_s * 2.0 ** min(tries - 1, 30))
    return full * share()


def share() -> float:
    """Of a pause, from half of it to all."""
    return random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing


def ring_delay_s(rings: int, *, base_s: float, cap_s: float) -> float:
    """Seconds until the clock rings a job again that it has rung `rings` times: doubles up to the
    cap.
    """
    return min(cap_s, base_s * 2.0 ** min(rings, 30))
