"""The edge to a client's server: one signed POST per try (Standard Webhooks), to a public address
only.

The name is resolved once, the address is judged and then connected to, with the name kept for TLS:
a second lookup cannot answer differently. No redirects; no more than the headers of the answer is
read; one deadline for all of it.
"""

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import urllib3
from django.conf import settings
from urllib3.exceptions import ProtocolError
from urllib3.util import Retry

from celery_ledger import outside
from notifications.models import Delivery, NotDelivered
from notifications.signing import signatures
from notifications.webhooks.address import public_address
from notifications.webhooks.deadline import Deadline, EndingPool, EndingTlsPool

TOO_LONG = "took longer than %g s"


def body(delivery: Delivery) -> str:
    """The same bytes on every try."""
    event = delivery.event
    content = {
        "type": event.kind,
        "timestamp": event.at.astimezone(UTC).isoformat(),
        "data": event.data,
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def post(delivery: Delivery) -> str:
    """POST it and return the answer's first line. Opens a socket; raises NotDelivered."""
    if delivery.endpoint is None:
        raise NotDelivered("the endpoint is gone")
    url, text, now = delivery.endpoint.url, body(delivery), datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "user-agent": "Kaiten-Webhooks/1",
        "webhook-id": str(delivery.pk),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signatures(delivery.endpoint.keys, str(delivery.pk), now, text),
    }
    with Deadline(settings.WEBHOOK_TIMEOUT_S) as deadline:
        try:
            with outside():
                status, pause_s = _post(url, text.encode(), headers, deadline)
        except (OSError, urllib3.exceptions.HTTPError, UnicodeError) as exc:
            raise NotDelivered(
                TOO_LONG % deadline.limit_s if deadline.is_over else _what_broke(exc)
            ) from exc
    if deadline.is_over:
        raise NotDelivered(TOO_LONG % deadline.limit_s)
    if not 200 <= status < 300:
        raise NotDelivered(f"answered {status}", status=status, pause_s=pause_s)
    return f"answered {status}"


def _post(
    url: str, payload: bytes, headers: dict[str, str], deadline: Deadline
) -> tuple[int, float]:
    """The status of the answer, and the pause that it asks for."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    address = public_address(host, port, deadline)
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(total=deadline.left_s),
        "deadline": deadline,
    }
    pool: urllib3.HTTPConnectionPool
    if parts.scheme == "https":
        pool = EndingTlsPool(address, port, server_hostname=host, assert_hostname=host, **options)
    else:
        pool = EndingPool(address, port, **options)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with pool:
        answer = pool.urlopen(
            "POST",
            target,
            body=payload,
            headers={**headers, "host": parts.netloc},
            retries=False,
            redirect=False,
            preload_content=False,
        )
        answer.close()  # the status says it all; a body could drip for ever
    return answer.status, _pause_s(answer)


def _pause_s(answer: urllib3.BaseHTTPResponse) -> float:
    """`Retry-After` of a server that is too busy, in seconds or as a date; 0.0 without one that
    can be read.
    """
    if answer.status not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return 0.0
    try:
        asked_s = Retry().get_retry_after(answer) or 0.0
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return 0.0
    return min(max(asked_s, 0.0), settings.RETRY_AFTER_MAX_S)


def _what_broke(exc: Exception) -> str:
    """In the words of whatever was at the bottom of it, which name no address."""
    cause: BaseException = exc
    while following := cause.__cause__ or (
        cause.args[1] if isinstance(cause, ProtocolError) and cause.args[1:] else None
    ):
        cause = following
    message = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return f"{type(cause).__name__}: {message}"
