"""The edge to a client's server: one signed POST per try (Standard Webhooks), to a public address
only.

The name is resolved once, the address is judged and then connected to, with the name kept for TLS:
a second lookup cannot answer differently. No redirects; one deadline for all of it. The status says
it all: of the body a little is read, for people who ask what was answered, if it comes at once.
"""

import codecs
import json
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import urllib3
from django.conf import settings
from urllib3.exceptions import ProtocolError
from urllib3.util import Retry

from celery_ledger import context, outside
from notifications.models import Answer, Delivery, Event, NotDelivered
from notifications.signing import signatures
from notifications.webhooks.address import public_address
from notifications.webhooks.deadline import Deadline, EndingPool, EndingTlsPool

TOO_LONG = "took longer than %g s"


def content(event: Event) -> dict[str, Any]:
    """What is told of it."""
    happened_at = event.at.astimezone(UTC).isoformat()
    return {"type": event.kind, "timestamp": happened_at, "data": event.data}


def body(delivery: Delivery) -> str:
    """The same bytes on every try."""
    return json.dumps(content(delivery.event), ensure_ascii=False, separators=(",", ":"))


def post(delivery: Delivery) -> Answer:
    """POST it and return what was answered. Opens a socket; raises NotDelivered."""
    if delivery.endpoint is None:
        raise NotDelivered("the endpoint is gone")
    text, now = body(delivery), datetime.now(UTC)
    headers = {
        "webhook-id": str(delivery.pk),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signatures(delivery.endpoint.keys, str(delivery.pk), now, text),
        **_trace(),
    }
    return post_json(delivery.endpoint.url, text, headers, own=delivery.endpoint.headers)


def post_json(url: str, text: str, headers: dict[str, str], *, own: dict[str, str]) -> Answer:
    """POST this JSON and return what was answered. Opens a socket; raises NotDelivered."""
    headers = {
        "host": urlsplit(url).netloc,
        "content-type": "application/json",
        "content-length": str(len(text.encode())),
        "accept-encoding": "identity",
        "user-agent": "Kaiten-Webhooks/1",
        **headers,
    }
    with Deadline(settings.WEBHOOK_TIMEOUT_S) as deadline:
        try:
            with outside():
                status, pause_s, beginning = _post(url, text.encode(), {**own, **headers}, deadline)
        except (OSError, urllib3.exceptions.HTTPError, UnicodeError) as exc:
            raise NotDelivered(
                TOO_LONG % deadline.limit_s if deadline.is_over else _what_broke(exc),
                request_headers=_shown(headers, own),
            ) from exc
    answer = Answer(f"answered {status}", beginning, _shown(headers, own))
    if not 200 <= status < 300:
        raise NotDelivered(status=status, pause_s=pause_s, **answer._asdict())
    return answer


def _shown(headers: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """Of its owner's own the names: a value may be a key to the server."""
    return {**dict.fromkeys(own, "…"), **headers}


def _trace() -> dict[str, str]:
    """W3C Trace Context, of whatever brought the event about."""
    traceparent = context.current().get("traceparent")
    return {"traceparent": traceparent} if traceparent else {}


def _post(
    url: str, payload: bytes, headers: dict[str, str], deadline: Deadline
) -> tuple[int, float, str]:
    """The status of the answer, the pause that it asks for, and the beginning of its body."""
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
    once = {"retries": False, "redirect": False}
    unread = {"preload_content": False, "decode_content": False}
    with pool, pool.urlopen("POST", target, payload, headers, **once, **unread) as answer:
        if deadline.is_over:  # what looks like the end of its headers is where it was cut
            raise TimeoutError
        return answer.status, _pause_s(answer), _beginning(answer, deadline)


def _beginning(answer: urllib3.BaseHTTPResponse, deadline: Deadline) -> str:
    """Of its body, as far as it comes at once: one that drips, or never ends, is cut."""
    read, limit = b"", settings.WEBHOOK_BODY_MAX_BYTES
    if answer.headers.get("content-length") != "0":
        deadline.shorten(settings.WEBHOOK_BODY_WAIT_S)
        with suppress(OSError, urllib3.exceptions.HTTPError):
            while len(read) < limit and (piece := answer.read1(limit - len(read))):
                read += piece
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(read)  # may end within a letter
    return text.replace("\0", "\ufffd")  # which Postgres does not keep


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
