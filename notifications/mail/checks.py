"""Whether every mail can be written, with the shop's own templates among ours: checked at boot
(`manage.py check`, and every release).
"""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.template import TemplateDoesNotExist, TemplateSyntaxError

from notifications.mail.examples import HAPPENING, example
from notifications.mail.message import render, template_name
from notifications.models import Shop
from values.shop import LANGUAGES

WRONG = (TemplateSyntaxError, TemplateDoesNotExist, LookupError, TypeError, ValueError)


def check_mails(app_configs: Any, **options: Any) -> list[CheckMessage]:
    """An Error for each mail that cannot be rendered from its example. Nothing is looked at unless
    MAIL_TEMPLATES names the shop's own folder: our templates have tests.
    """
    if not settings.MAIL_TEMPLATES:
        return []
    mails = [(kind, language) for kind in HAPPENING for language in LANGUAGES]
    found = [(template_name(*mail), _objection(*mail)) for mail in mails]
    return [Error(f"{name}: {wrong}", id="mail.E001") for name, wrong in found if wrong]


def _objection(kind: str, language: str) -> str:
    """Why this mail cannot be written; "" when it can."""
    try:
        mail = render(example(kind, language), Shop(**settings.SHOP))
    except WRONG as exc:
        return f"{type(exc).__name__}: {exc}"
    return "" if mail.subject else "it has no subject"
