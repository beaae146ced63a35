from collections.abc import Mapping
from typing import Any

from django import template

from values import money as rules

register = template.Library()


@register.filter
def money(amount: int, currency: str) -> str:
    """{{ order.total|money:order.currency }}: minor units, as people write them: ¥1,300."""
    return rules.written(amount, currency)


@register.filter
def given_back(order: Mapping[str, Any]) -> int:
    """{{ order|given_back }}: money that has gone back, or will."""
    return int(order.get("refunded", 0) + order.get("refund_pending", 0))


@register.filter
def payback(order: Mapping[str, Any]) -> str:
    """{{ order|payback }}: a word of `values.money.Payback` for the snapshot of an order."""
    captured, state = order.get("captured", 0), order.get("payment_state", "none")
    return rules.payback(captured=captured, back=given_back(order), payment_state=state)
