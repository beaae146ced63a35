"""Amounts as Stripe counts them, which is not for every currency as ISO 4217 does. Works without
Stripe's package.
"""

from fractions import Fraction

from orders.payments.provider import ProviderRefused
from values.money import exponent
from values.refused import Sentence

PLACES = {"ISK": 2, "UGX": 2, "MGA": 0}  # where Stripe counts otherwise
THREE_PLACES_STEP = 10  # of a currency of three decimals Stripe takes amounts that end in 0


def objection(amount: int, currency: str) -> str | None:
    """Why Stripe will never move this amount; None when it can."""
    if (amount * _factor(currency)).denominator != 1:
        text = "Stripe takes %(currency)s without decimals only, and this is %(amount)s minor units"
        return Sentence(text, currency=currency, amount=amount)
    if exponent(currency) == 3 and amount % THREE_PLACES_STEP:
        text = (
            "Stripe takes %(currency)s with two decimals only: %(amount)s minor units must end in 0"
        )
        return Sentence(text, currency=currency, amount=amount)
    return None


def to_stripe(amount: int, currency: str) -> int:
    """An amount of our minor units in those that Stripe counts. Raises ProviderRefused for one that
    it cannot move.
    """
    if reason := objection(amount, currency):
        raise ProviderRefused(f"{reason}.")
    return int(amount * _factor(currency))


def from_stripe(amount: int, currency: str) -> int:
    return int(amount / _factor(currency))


def _factor(currency: str) -> Fraction:
    return Fraction(10) ** (PLACES.get(currency, exponent(currency)) - exponent(currency))
