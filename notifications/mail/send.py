"""The edge to the mail server: one Message-ID per delivery."""

import smtplib
from email.utils import formataddr, parseaddr

from django.conf import settings
from django.core.mail import EmailMessage

from celery_ledger import outside, scrubbed
from notifications.mail.message import render
from notifications.models import Delivery, NotDelivered, Shop
from values.addresses import mailable


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
