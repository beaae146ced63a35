"""Dividing money so that no unit of it is lost or made. Pure functions of integers."""

from collections.abc import Sequence


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """Shares of an amount in proportion to the weights, by the largest remainder; of equal
    remainders the first is the larger.

    The shares add up to the amount; when it is no more than the weights' sum, no share is more than
    its weight. Raises ValueError for a negative amount or weight, and for one to divide by nothing.
    """
    whole = sum(weights)
    if amount < 0 or min(weights, default=0) < 0 or (amount and not whole):
        raise ValueError(f"cannot divide {amount} by {list(weights)}")
    if not amount:
        return [0] * len(weights)
    shares = [amount * weight // whole for weight in weights]
    remainders = [amount * weight % whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda index: -remainders[index])  # is stable
    for index in by_remainder[: amount - sum(shares)]:
        shares[index] += 1
    return shares


def portion(amount: int, *, of: int, before: int, units: int) -> int:
    """The part of an amount for `units` of its `of` units, after `before` of them.

    However a line is taken apart, its portions add up to its amount.
    """
    return amount * (before + units) // of - amount * before // of
