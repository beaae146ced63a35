"""The edge to a client's server: one signed POST per try (Standard Webhooks), to a public address
only.

The name is resolved once, the address is judged and then connected to, with the name kept for TLS:
a second lookup cannot answer differently. No redirects; no more than the headers of the answer is
read; one deadline for all of it.
"""

import ipaddress
import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3
from django.conf import settings
from standardwebhooks import Webhook
from urllib3.exceptions import ProtocolError

from celery_ledger import outside
from notifications.deadline import Deadline, EndingPool, EndingTlsPool
from notifications.models import Delivery, NotDelivered

LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
NAME = rf"(?:{LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.?"
HERE = r"localhost|127\.0\.0\.1|\[::1\]"  # in development
PORT = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
REST = r"(?:[/?][!-\"$-~]*)?"  # printable ASCII without #
PUBLIC_URL = re.compile(f"https://{NAME}(?::{PORT})?{REST}")
LOCAL_URL = re.compile(f"https?://(?:{NAME}|{HERE})(?::{PORT})?{REST}")
HOST_MAX_CHARS = 253
TOO_LONG = "took longer than %g s"
NOT_PUBLIC = "its host has no public address"
OF_THE_PLATFORM = [  # public by their number, and yet of the network that a machine stands in
    ipaddress.ip_network(block)
    for block in (
        "168.63.129.16/32",  # Azure's own, of every machine
        "192.88.99.0/24",  # relays of 6to4
    )
]
IPV6_UNICAST = ipaddress.ip_network("2000::/3")
IPV6_EMBEDS_IPV4 = [
    ipaddress.ip_network(block) for block in ("2001::/32", "2002::/16", "3fff::/20")
]


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
        "webhook-signature": " ".join(
            Webhook(secret).sign(str(delivery.pk), now, text)
            for secret in delivery.endpoint.secrets
        ),
    }
    with Deadline(settings.WEBHOOK_TIMEOUT_S) as deadline:
        try:
            with outside():
                status = _post(url, text.encode(), headers, deadline)
        except (OSError, urllib3.exceptions.HTTPError, UnicodeError) as exc:
            raise NotDelivered(
                TOO_LONG % deadline.limit_s if deadline.is_over else _what_broke(exc)
            ) from exc
    if deadline.is_over:
        raise NotDelivered(TOO_LONG % deadline.limit_s)
    if not 200 <= status < 300:
        raise NotDelivered(f"answered {status}")
    return f"answered {status}"


def url_pattern() -> re.Pattern[str]:
    """What the URL of an endpoint looks like."""
    return LOCAL_URL if settings.WEBHOOK_ALLOW_LOCAL else PUBLIC_URL


def objection(url: str) -> str | None:
    """Why this URL cannot be an endpoint, without looking its name up; None when it can."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return (
            "must be printable ASCII without spaces; "
            "write an international host name as punycode (xn--…)"
        )
    if url_pattern().fullmatch(url):
        return None if len(urlsplit(url).hostname or "") <= HOST_MAX_CHARS else "must name a host"
    if not url.startswith("https://") and not (
        settings.WEBHOOK_ALLOW_LOCAL and url.startswith("http://")
    ):
        return "must be a full https URL, like https://shop.example.com/hooks"
    if "@" in url.partition("://")[2].partition("/")[0] or "#" in url:
        return "must not hold a user name, a password or a fragment"
    return (
        "must name a public host, and if a port one from 1 to 65535, "
        "like https://shop.example.com:8443/hooks"
    )


def may_connect_to(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """True for public unicast addresses; loopback too where WEBHOOK_ALLOW_LOCAL is on."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if settings.WEBHOOK_ALLOW_LOCAL and address.is_loopback:
        return True
    if isinstance(address, ipaddress.IPv6Address):
        unicast = address in IPV6_UNICAST and not any(
            address in block for block in IPV6_EMBEDS_IPV4
        )
        return unicast and address.is_global
    if any(address in block for block in OF_THE_PLATFORM):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _post(url: str, payload: bytes, headers: dict[str, str], deadline: Deadline) -> int:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    address = _public_address(host, port, deadline)
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
    return answer.status


def _public_address(host: str, port: int, deadline: Deadline) -> str:
    """The first address of this name, if we may connect to every one of them.

    What a name inside resolves to, and whether it does, is told to nobody.
    """
    try:
        found = deadline.addresses_of(host, port)
    except TimeoutError:
        raise
    except (OSError, UnicodeError) as exc:
        raise NotDelivered(NOT_PUBLIC) from exc
    addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in found]
    if not all(map(may_connect_to, addresses)):
        raise NotDelivered(NOT_PUBLIC)
    return found[0]


def _what_broke(exc: Exception) -> str:
    """In the words of whatever was at the bottom of it, which name no address."""
    cause: BaseException = exc
    while following := cause.__cause__ or (
        cause.args[1] if isinstance(cause, ProtocolError) and cause.args[1:] else None
    ):
        cause = following
    message = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return f"{type(cause).__name__}: {message}"
