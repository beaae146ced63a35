from django import template

from values.money import written

register = template.Library()


@register.filter
def money(amount: int, currency: str) -> str:
    """{{ order.total|money:order.currency }}"""
    return written(amount, currency)
