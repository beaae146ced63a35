"""The address of the page of whatever an action was done to."""

from collections.abc import Callable
from urllib.parse import urlencode

from django import template
from django.urls import NoReverseMatch, reverse

register = template.Library()

PAGES: dict[str, Callable[[str], str]] = {  # by the kind of a subject
    "stock": lambda sku: f"{reverse('ops:goods')}?{urlencode({'sku': sku})}",
    "import": lambda pk: reverse("ops:import", args=[pk]),
    "export": lambda pk: reverse("ops:export", args=[pk]),
    "client": lambda name: f"{reverse('ops:settings')}?{urlencode({'name': name})}",
    "job": lambda pk: reverse("ops:job", args=[pk]),
    "": lambda pk: reverse("ops:order", args=[pk]),
}


@register.filter
def page(subject: str) -> str:
    """{{ action.subject|page }}: its address, empty for what has none."""
    kind, _, name = subject.partition(" ") if " " in subject else ("", "", subject)
    try:
        return PAGES[kind](name) if kind in PAGES else ""
    except NoReverseMatch:
        return ""
