"""The edge to a client's server: one signed POST per try (Standard Webhooks), to a public address
only.

The name is looked up once, the address is judged and then connected to, with the name kept for TLS:
a second lookup cannot answer differently. A connection is kept for the next call when its answer
came to its end. No redirects; one deadline for all of it. The status says it all: of the body a
little is read, for people who ask what was answered, if it comes at once.
"""

import codecs
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from django.conf import settings
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from celery_ledger import context, outside
from notifications.models import Answer, Delivery, NotDelivered
from notifications.signing import signatures
from notifications.webhooks.connection import Connection, Place, idle, open_connection
from notifications.webhooks.deadline import Deadline
from notifications.webhooks.payload import body

TOO_LONG = "took longer than %g s"
IN_A_TARGET = "/?:@!$&'()*+,;=%-._~"  # of a request; other characters are percent-encoded


def post(delivery: Delivery) -> Answer:
    """POST it, signed, to its endpoint and return what that answered. Opens a socket; raises
    NotDelivered.
    """
    endpoint = delivery.endpoint
    if endpoint is None:
        raise NotDelivered("the endpoint is gone")
    with outside():
        text, now = body(delivery), datetime.now(UTC)
        headers = {
            "webhook-id": str(delivery.pk),
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signatures(endpoint.keys, str(delivery.pk), now, text),
            **_trace(),
        }
        own, id_ = endpoint.headers, str(endpoint.pk)
        return post_json(endpoint.url, text, headers, own=own, endpoint=id_)


def post_json(
    url: str, text: str, headers: dict[str, str], *, own: dict[str, str], endpoint: str = ""
) -> Answer:
    """POST this JSON and return what was answered. `own` are headers of the URL's owner, whose
    values nobody is shown; `endpoint` is whose connections may be used again. Opens a socket, or
    takes a kept one; raises NotDelivered, also for any status but 2xx.
    """
    headers = _of_json(url, text) | headers
    with Deadline(settings.WEBHOOK_TIMEOUT_S) as deadline:
        try:
            with outside():
                place = _place(endpoint, url)
                request = _Request(_target(url), text.encode(), {**own, **headers})
                status, pause_s, beginning = _post(place, request, deadline)
        except (OSError, HTTPException, UnicodeError) as exc:
            raise NotDelivered(
                TOO_LONG % deadline.limit_s if deadline.is_over else _what_broke(exc),
                request_headers=_masked(headers, own),
            ) from exc
    answer = Answer(f"answered {status}", beginning, _masked(headers, own))
    if not 200 <= status < 300:
        raise NotDelivered(status=status, pause_s=pause_s, **answer._asdict())
    return answer


def _of_json(url: str, text: str) -> dict[str, str]:
    """The headers of each POST of this JSON."""
    return {
        "host": urlsplit(url).netloc,
        "content-type": "application/json",
        "content-length": str(len(text.encode())),
        "accept-encoding": "identity",
        "user-agent": "Kaiten-Webhooks/1",
    }


def _masked(headers: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """The headers as people are shown them: of the owner's own only the names, since a value may be
    a key to the server.
    """
    return {**dict.fromkeys(own, "…"), **headers}


def _trace() -> dict[str, str]:
    """The header of W3C Trace Context, of whatever brought the event about; none without one."""
    traceparent = context.current().get("traceparent")
    return {"traceparent": traceparent} if traceparent else {}


class _Request(NamedTuple):
    target: str
    payload: bytes
    headers: dict[str, str]


class _Heard(NamedTuple):
    status: int
    pause_s: float  # that the answer asks for
    beginning: str  # of its body


def _place(endpoint: str, url: str) -> Place:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Place(endpoint, parts.scheme, parts.hostname or "", port)


def _target(url: str) -> str:
    """The path and query of the URL, as a request names them."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return quote(f"{parts.path or '/'}{query}", safe=IN_A_TARGET)


def _post(place: Place, request: _Request, deadline: Deadline) -> _Heard:
    """Send it over a kept connection, or else a new one; and over a new one too when a kept one
    turns out to be closed before anything was answered. Then the other side may have heard it: this
    is another try, like any after one that failed, under the same webhook-id.
    """
    kept = idle.take(place, deadline)
    if kept:
        try:
            return _asked(kept, request, deadline)
        except ConnectionError:
            if deadline.is_over:
                raise
    return _asked(open_connection(place, deadline), request, deadline)


def _asked(connection: Connection, request: _Request, deadline: Deadline) -> _Heard:
    """Send it over this connection, which is kept afterwards or closed. Raises OSError and
    HTTPException, and of those ConnectionError only if nothing of an answer was read.
    """
    try:
        connection.request("POST", *request)
        with connection.getresponse() as answer:
            if deadline.is_over:  # what looks like the end of its headers is where it was cut
                raise TimeoutError
            heard = _Heard(answer.status, _pause_s(answer), _beginning(answer, deadline))
            can_go_on = answer.isclosed() and not answer.will_close
    except BaseException:
        connection.close()
        raise
    if can_go_on and deadline.spares():
        idle.keep(connection)
    else:
        connection.close()
    return heard


def _beginning(answer: HTTPResponse, deadline: Deadline) -> str:
    """The first WEBHOOK_BODY_MAX_BYTES of the body that come within WEBHOOK_BODY_WAIT_S: one that
    drips, or never ends, is cut.
    """
    read, limit = b"", settings.WEBHOOK_BODY_MAX_BYTES
    deadline.shorten(settings.WEBHOOK_BODY_WAIT_S)
    with suppress(OSError, HTTPException):
        while len(read) < limit and (piece := answer.read1(limit - len(read))):
            read += piece
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(read)  # may end within a letter
    return text.replace("\0", "\ufffd")  # which Postgres does not keep


def _pause_s(answer: HTTPResponse) -> float:
    """`Retry-After` of a server that is too busy, in seconds or as a date; 0.0 without one that
    can be read.
    """
    if answer.status not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return 0.0
    try:
        asked_s = Retry().parse_retry_after(answer.headers.get("retry-after", "0"))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
    return min(max(asked_s, 0.0), settings.RETRY_AFTER_MAX_S)


def _what_broke(exc: Exception) -> str:
    """The error at the bottom of this one, in its own words, which name no address."""
    cause: BaseException = exc
    while cause.__cause__:
        cause = cause.__cause__
    message = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return f"{type(cause).__name__}: {message}"
