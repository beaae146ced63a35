"""The edge to the staff's chat: an incoming webhook, which takes {"text": …}."""

import json
from html import escape

from django.conf import settings

from notifications import webhooks
from notifications.mail.message import render
from notifications.models import Answer, Delivery, Event, NotDelivered, Shop

STAFF = "staff"  # the target of each delivery: the URL is a secret, and stands in no row


def recipients(event: Event) -> list[str]:
    """The staff, if the event is one that they read in chat, or else nobody."""
    return [STAFF] if event.data.get("chat") else []


def send(delivery: Delivery) -> Answer:
    """Post what the event's mail would say, cut to CHAT_TEXT_MAX_CHARS. Opens a socket; raises
    NotDelivered.
    """
    if not settings.STAFF_CHAT_URL:
        raise NotDelivered("STAFF_CHAT_URL is not set any more")
    subject, text, *_ = render(delivery.event, Shop.objects.of(delivery.event.owner))
    message = f"{subject}\n\n{text}".strip()
    if len(message) > settings.CHAT_TEXT_MAX_CHARS:
        message = f"{message[: settings.CHAT_TEXT_MAX_CHARS - 1]}…"
    # escaped, or a `<!channel>` in somebody's answer would call the whole channel
    body = json.dumps({"text": escape(message, quote=False)}, ensure_ascii=False)
    return webhooks.post_json(settings.STAFF_CHAT_URL, body, {}, own={})
