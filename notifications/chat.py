"""The edge to the staff's chat: an incoming webhook, which takes {"text": …}."""

import json
from html import escape

from django.conf import settings

from notifications import webhooks
from notifications.mail.message import render
from notifications.models import Answer, Delivery, Event, NotDelivered, Shop

STAFF = "staff"  # whom it is for; where that is, a variable says, since it is a secret


def recipients(event: Event) -> list[str]:
    """Nobody but the staff, of what it is told in chat."""
    return [STAFF] if event.data.get("chat") else []


def send(delivery: Delivery) -> Answer:
    """Say the words of its mail. Opens a socket; raises NotDelivered."""
    if not settings.STAFF_CHAT_URL:
        raise NotDelivered("STAFF_CHAT_URL is not set any more")
    subject, text, *_ = render(delivery.event, Shop.objects.of(delivery.event.owner))
    said = f"{subject}\n\n{text}".strip()
    if len(said) > settings.CHAT_TEXT_MAX_CHARS:
        said = f"{said[: settings.CHAT_TEXT_MAX_CHARS - 1]}…"
    # or somebody's answer would call the whole channel
    body = json.dumps({"text": escape(said, quote=False)}, ensure_ascii=False)
    return webhooks.post_json(settings.STAFF_CHAT_URL, body, {}, own={})
