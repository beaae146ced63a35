"""The mail to the owner of an endpoint that only fails: when it is disabled, and what to do."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from uuid_utils.compat import uuid7

from notifications import events
from notifications.models import Delivery, Endpoint, Shop


def warn(endpoint: Endpoint) -> None:
    """Record the event that mails the owner of this endpoint, if there is an address to mail to.
    The caller holds the endpoint's lock.
    """
    shop = Shop.objects.of(endpoint.owner)
    to, since = owners(shop), endpoint.failing_since
    if not to or since is None:
        return
    kind = "endpoint.failing" if endpoint.disabled_at is None else "endpoint.disabled"
    facts = _facts(endpoint, failing_since=since)
    data = {"endpoint": facts, "mail": {"to": to, "language": shop.language}}
    events.record(kind, subject=uuid7(), seq=1, owner=None, data=data)


def owners(shop: Shop) -> list[str]:
    """Whom to mail about this client's endpoints: the address that the client itself gave its shop,
    or else the staff's, or the installation's; empty without any.
    """
    is_own = "reply_to" not in shop.lent
    reply_to = [shop.reply_to] if shop.reply_to else []
    return reply_to if is_own else settings.REPORT_EMAILS or reply_to


def _facts(endpoint: Endpoint, *, failing_since: datetime) -> dict[str, Any]:
    """The endpoint as the mail names it, by its host and id: the rest of a URL may be a key."""
    lost_since = failing_since - settings.DELIVERY_MAX_AGE  # older ones had been given up before
    waiting, given_up = Delivery.objects.undelivered(endpoint.pk, since=lost_since)
    return {
        "id": str(endpoint.pk),
        "host": urlsplit(endpoint.url).netloc,
        "failing_since": failing_since.isoformat(),
        "said": endpoint.failed_with,
        "waiting": _number(waiting),
        "given_up": _number(given_up),
        "lost_since": _in_a_query(lost_since),
        "share": endpoint.warned,
        "ends_at": (failing_since + settings.ENDPOINT_PATIENCE).isoformat(),
        "disabled_at": endpoint.disabled_at and _in_a_query(endpoint.disabled_at),
        "because": endpoint.disabled_because,
    }


def _number(count: int) -> str:
    return f"{count}+" if count == settings.METRICS_ROWS_MAX else str(count)


def _in_a_query(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
