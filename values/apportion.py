"""Dividing money so that no unit of it is lost or made. Pure functions of integers."""

from collections.abc import Sequence


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """Divide an amount in proportion to the weights by the largest remainder; equal remainders go
    to the first.

    They add up to it; when it is no more than the weights' sum, no share is more than its weight.
    Raises ValueError.
    """
    whole = sum(weights)
    if amount < 0 or min(weights, default=0) < 0 or (amount and not whole):
        raise ValueError(f"cannot divide {amount} by {list(weights)}")
    if not amount:
        return [0] * len(weights)
    shares = [amount * weight // whole for weight in weights]
    by_remainder = sorted(
        range(len(weights)), key=lambda index: (-(amount * weights[index] % whole), index)
    )
    for index in by_remainder[: amount - sum(shares)]:
        shares[index] += 1
    return shares


def portion(amount: int, *, of: int, before: int, units: int) -> int:
    """What `units` of an amount's `of` units come to, `before` of which have been counted earlier.

    However a line is taken apart, its portions add up to its amount.
    """
    return amount * (before + units) // of - amount * before // of
