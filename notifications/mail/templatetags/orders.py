from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone

register = template.Library()


@register.filter
def moment(at: str) -> str:
    """{{ order.created_at|moment }}: 2026-11-30 17:30:05 JST, in the shop's time zone."""
    return f"{timezone.localtime(datetime.fromisoformat(at)):%Y-%m-%d %H:%M:%S %Z}"


@register.filter
def amount(line: Mapping[str, Any]) -> int:
    """{{ line|amount }}: what all of its units cost."""
    return int(line["quantity"] * line["unit_price"] - line["discount"] + line["tax"])


@register.filter
def minute(at: str) -> str:
    """{{ order.expires_at|minute }}: 2026-11-30 17:30 JST, in the shop's time zone."""
    return f"{timezone.localtime(datetime.fromisoformat(at)):%Y-%m-%d %H:%M %Z}"


@register.filter
def withdrawn(order: Mapping[str, Any]) -> int:
    """{{ order|withdrawn }}: units that will not be sent."""
    return sum(line["withdrawn"] for line in order["lines"])


@register.filter
def announced(order: Mapping[str, Any]) -> int:
    """{{ order|announced }}: units that are to be sent back."""
    return sum(line["announced"] for line in order["lines"])
