"""What a mail says: one text per event and language."""

from pathlib import PurePosixPath

from django.conf import settings
from django.template import TemplateDoesNotExist
from django.template.loader import get_template

from notifications.models import Event, Shop
from values.shop import LANGUAGES


def render(event: Event, shop: Shop) -> tuple[str, str]:
    """Subject (the template's first line) and body, in the reader's language; what the shop's
    customers get, it signs.
    """
    to_staff = "mail" in event.data
    asked = event.data["mail"]["language"] if to_staff else event.data["order"]["locale"]
    language = (asked or "").partition("-")[0]
    name = template_name(event, language if language in LANGUAGES else shop.language)
    text = get_template(str(name)).render({**event.data, "site": settings.SITE_URL})
    subject, _, body = text.strip().partition("\n")
    signature = "" if to_staff else f"\n-- \n{shop.signature}\n"
    return subject.strip(), f"{body.strip()}\n{signature}"


def template_name(event: Event, language: str) -> PurePosixPath | None:
    name = PurePosixPath("mail") / language / f"{event.kind}.txt"
    try:
        get_template(str(name))
    except TemplateDoesNotExist:
        return None
    return name
