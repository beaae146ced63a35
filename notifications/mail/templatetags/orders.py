from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

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
def is_withdrawn_in_part(order: Mapping[str, Any]) -> bool:
    """{{ order|is_withdrawn_in_part }}: its newest withdrawal is of fewer units than it has."""
    units = order["withdrawal"].get("lines") or order["lines"]
    return _pieces(units) < _pieces(order["lines"])


def _pieces(units: Sequence[Mapping[str, Any]]) -> int:
    return sum(part["quantity"] for part in units)


@register.filter
def announced(order: Mapping[str, Any]) -> int:
    """{{ order|announced }}: units that are to be sent back."""
    return sum(line["announced"] for line in order["lines"])


# the reasons of a hold that the machine, or a choice of the staff pages, has given, in words
HELD_FOR: dict[str, Promise] = {
    "reservation_failed": gettext_lazy("its goods could not be set aside"),
    "payment_unknown": gettext_lazy("nobody knows yet whether it was paid"),
    "refund_unknown": gettext_lazy("nobody knows whether its refund was made"),
    "paid_twice": gettext_lazy("it was paid twice"),
    "disputed": gettext_lazy("its customer disputes the payment at the bank"),
    "refund_failed": gettext_lazy("the bank sent a refund back"),
    "refunded_by_hand": gettext_lazy("somebody gave money back at the provider's own pages"),
    "address_unclear": gettext_lazy("the address is unclear"),
    "delayed": gettext_lazy("it takes longer"),
}


@register.filter
def held_for(reason: str) -> Promise | str:
    """{{ order.reason|held_for }}: in words; the staff's own words stay as they are."""
    return HELD_FOR.get(reason, reason)
