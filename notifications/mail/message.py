"""What a mail says: one template per event and language, rendered twice, as text and as HTML.

The layout comes with the form, and so do the tags that templates call (`{% goods %}`,
`{% button %}`); the words are the same.
"""

import re
from typing import Any, NamedTuple

from django.conf import settings
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.utils import timezone
from django.utils.translation import override

from notifications.models import Event, Shop
from values.shop import LANGUAGES

TEXT, HTML = "txt", "html"  # the forms, and how the files of their layouts end


class Message(NamedTuple):
    subject: str
    text: str
    html: str
    receipt: str  # to keep and to print, of what was paid; "" where nothing was


def render(event: Event, shop: Shop) -> Message:
    """The mail of this event, in the reader's language and the shop's time zone. A mail to a
    customer ends with the shop's signature. Raises what Django's templates raise.
    """
    to_staff = "mail" in event.data
    language = _language(event.data, shop)
    variables = {**event.data, "site": settings.SITE_URL, "shop": shop, "language": language}
    with override(language), timezone.override(shop.zone):
        name = template_name(event.kind, language)
        subject, _, text = _rendered(name, TEXT, variables).strip().partition("\n")
        subject = " ".join(subject.split())
        html = _rendered(name, HTML, variables | {"subject": subject, "to_staff": to_staff})
        receipt = _receipt(event.kind, variables)
    signature = "" if to_staff else f"\n-- \n{shop.signature}\n"
    return Message(subject, f"{_tidied(text)}\n{signature}", html, receipt)


def template_name(kind: str, language: str) -> str:
    return f"mail/{language}/{kind}.txt"


def has_words(kind: str) -> bool:
    """Whether there is a template for a mail of this kind of event."""
    try:
        get_template(template_name(kind, LANGUAGES[0]))
    except TemplateDoesNotExist:
        return False
    return True


def _language(data: dict[str, Any], shop: Shop) -> str:
    """One of LANGUAGES: as the event names it, or else the shop's."""
    locale = data["mail"]["language"] if "mail" in data else data["order"]["locale"]
    language = (locale or "").partition("-")[0]
    return language if language in LANGUAGES else shop.language


def _receipt(kind: str, variables: dict[str, Any]) -> str:
    """The receipt of an order that was confirmed and is paid in full; "" of anything else."""
    order = variables.get("order", {})
    if kind != "order.confirmed" or not 0 < order["total"] <= order.get("captured", 0):
        return ""
    billed = order.get("billing_address") or order.get("customer") or {}
    template = get_template(template_name("receipt", variables["language"]))
    text = template.render(variables | {"billed": billed.get("name")})
    return f"{_tidied(text)}\n"


def _rendered(name: str, form: str, variables: dict[str, Any]) -> str:
    layout = f"mail/layout/layout.{form}"
    return get_template(name).render(variables | {"form": form, "layout": layout})


def _tidied(text: str) -> str:
    """One empty line where tags have left several, and none at either end."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip()
