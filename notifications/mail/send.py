"""The edge to the mail server: one Message-ID per delivery."""

import smtplib
from email.utils import formataddr, parseaddr
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives

from celery_ledger import outside, scrubbed
from notifications.mail.answers.refusal import in_a_line, knows_no_mailbox
from notifications.mail.message import render
from notifications.models import (
    Answer,
    Delivery,
    NoMailbox,
    NotDelivered,
    Shop,
    Suppressed,
    Suppression,
)
from values.addresses import mailable

# ValueError: an address that no mail can go to
UNSENT = (OSError, smtplib.SMTPException, ValueError)


class Mail(EmailMultiAlternatives):
    """A mail whose bytes are the same on every try: also the boundaries between its parts, which
    are made of its delivery's id.
    """

    def __init__(self, *, delivery: UUID, **fields: Any) -> None:
        super().__init__(**fields)
        self.delivery = delivery

    def message(self, **options: Any) -> Any:
        wire = super().message(**options)
        parts = [part for part in wire.walk() if part.is_multipart()]
        for number, part in enumerate(parts):
            part.set_boundary(f"=_{number}{self.delivery.hex}")
        return wire


def send(delivery: Delivery) -> Answer:
    """Hand the mail to the server and return what we know of its answer. Opens a socket; raises
    NotDelivered.

    The server may have taken the mail although we never hear so: the next try bears the same
    Message-ID.
    """
    shop = Shop.objects.of(delivery.event.owner)
    try:
        if listed := Suppression.objects.of(delivery.target):
            raise Suppressed(f"not sent, nothing is mailed to this address: {listed}")
        message = composed(delivery, shop)
        with outside():
            message.send()
    except smtplib.SMTPRecipientsRefused as exc:
        raise _refused(exc) from exc
    except UNSENT as exc:
        raise NotDelivered(_in_words(exc)) from exc
    return Answer("accepted by the mail server")


def _refused(exc: smtplib.SMTPRecipientsRefused) -> NotDelivered:
    """What it means that the mail's one recipient was refused."""
    code, text = next(iter(exc.recipients.values()))
    if knows_no_mailbox(code, text):
        return NoMailbox(scrubbed(f"{code} {in_a_line(text)}"))
    return NotDelivered(_in_words(exc))


def _in_words(exc: Exception) -> str:
    """The error without the address, which mail servers repeat."""
    return scrubbed(f"{type(exc).__name__}: {exc}")


def composed(delivery: Delivery, shop: Shop) -> Mail:
    """The mail of this delivery, as text and as HTML, with the receipt if there is one. Mail
    programs show all mails about one subject as one conversation, since each refers to an id that
    is made of the subject's. Raises ValueError for an address that no mail can go to.
    """
    subject, text, html, receipt = render(delivery.event, shop)
    sender = mailable(parseaddr(settings.DEFAULT_FROM_EMAIL)[1])
    domain = sender.rpartition("@")[2]
    message = Mail(
        delivery=delivery.pk,
        subject=subject,
        body=text,
        from_email=formataddr((shop.name, sender)),
        to=[mailable(delivery.target)],
        reply_to=[shop.reply_to] if shop.reply_to and "mail" not in delivery.event.data else None,
        headers=_headers(delivery, domain),
    )
    message.attach_alternative(html, "text/html")
    if receipt:
        number = delivery.event.data["order"]["number"]
        message.attach(f"receipt-{number}.txt", receipt, "text/plain")
    return message


def _headers(delivery: Delivery, domain: str) -> dict[str, str]:
    conversation = f"<{delivery.event.subject}@{domain}>"
    return {
        "Message-ID": f"<{delivery.pk}@{domain}>",
        "In-Reply-To": conversation,
        "References": conversation,
        "Auto-Submitted": "auto-generated",
    }
