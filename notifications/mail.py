"""The edge to the mail server: one text per event and language, one Message-ID per delivery."""

import smtplib
from email.utils import formataddr, parseaddr
from pathlib import PurePosixPath

from django.conf import settings
from django.core.mail import EmailMessage
from django.template import TemplateDoesNotExist
from django.template.loader import get_template

from celery_ledger import context, outside, scrubbed
from notifications.models import Delivery, Event, NotDelivered, Shop
from values.addresses import mailable
from values.shop import LANGUAGES


def recipients(event: Event) -> list[str]:
    """Whom the event names, or the customer, if there is something to say to them about this kind
    of event, and what is being done is not quiet.
    """
    order = event.data.get("order", {})
    named = [one for one in event.data.get("mail", {}).get("to") or [order.get("email")] if one]
    # of one that is complete there is nothing to say, unless a part of it was cancelled
    is_told = event.kind != "order.completed" or order.get("reason")
    if order.get("withdrawal") and event.kind in ("order.completed", "order.cancelled"):
        is_told = False  # its receipt says so too
    is_quiet = order and context.current().get("quiet")
    if is_quiet or not (is_told and _template_name(event, "en")):
        return []
    return named


def send(delivery: Delivery) -> str:
    """Hand the mail to the server and return what we know of its answer. Opens a socket; raises
    NotDelivered.

    The server may have taken the mail although we never hear so: the next try bears the same
    Message-ID.
    """
    shop = Shop.objects.of(delivery.event.owner)
    subject, body = render(delivery.event, shop)
    _, address = parseaddr(settings.DEFAULT_FROM_EMAIL)
    try:
        sender = mailable(address)
        domain = sender.rpartition("@")[2]
        message = EmailMessage(
            subject=subject,
            body=body,
            from_email=formataddr((shop.name, sender)),
            to=[mailable(delivery.target)],
            headers={"Message-ID": f"<{delivery.pk}@{domain}>", "Auto-Submitted": "auto-generated"},
        )
        with outside():
            message.send()
    except (
        OSError,
        smtplib.SMTPException,
        ValueError,
    ) as exc:  # ValueError: an address that no mail can go to
        raise NotDelivered(
            scrubbed(f"{type(exc).__name__}: {exc}")
        ) from exc  # it names the address
    return "accepted by the mail server"


def render(event: Event, shop: Shop) -> tuple[str, str]:
    """Subject (the template's first line) and body, in the reader's language; what the shop's
    customers get, it signs.
    """
    to_staff = "mail" in event.data
    asked = event.data["mail"]["language"] if to_staff else event.data["order"]["locale"]
    language = (asked or "").partition("-")[0]
    name = _template_name(event, language if language in LANGUAGES else shop.language)
    text = get_template(str(name)).render({**event.data, "site": settings.SITE_URL})
    subject, _, body = text.strip().partition("\n")
    signature = "" if to_staff else f"\n-- \n{shop.signature}\n"
    return subject.strip(), f"{body.strip()}\n{signature}"


def _template_name(event: Event, language: str) -> PurePosixPath | None:
    name = PurePosixPath("mail") / language / f"{event.kind}.txt"
    try:
        get_template(str(name))
    except TemplateDoesNotExist:
        return None
    return name
