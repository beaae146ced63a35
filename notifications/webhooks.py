"""The edge to a client's server: one signed POST per try (Standard Webhooks), to a public address only.

The name is resolved once, the address is judged and then connected to, with the name kept for TLS: a second lookup
cannot answer differently. No redirects; no more than the headers of the answer is read; one deadline for all of it.
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

from notifications.deadline import Deadline, EndingPool, EndingTlsPool
from notifications.models import Delivery, NotDelivered

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
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
IPV6_EMBEDS_IPV4 = [ipaddress.ip_network(block) for block in ("2001::/32", "2002::/16", "3fff::/20")]


def body(delivery: Delivery) -> str:
    """The same bytes on every try."""
    event = delivery.event
    said = {"type": event.kind, "timestamp": event.at.astimezone(UTC).isoformat(), "data": event.data}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


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
            Webhook(secret).sign(str(delivery.pk), now, text) for secret in delivery.endpoint.secrets
        ),
    }
    with Deadline(settings.WEBHOOK_TIMEOUT_S) as deadline:
        try:
            status = _post(url, text.encode(), headers, deadline)
        except (OSError, urllib3.exceptions.HTTPError, UnicodeError) as exc:
            raise NotDelivered(TOO_LONG % deadline.limit_s if deadline.is_over else _what_broke(exc)) from exc
    if deadline.is_over:
        raise NotDelivered(TOO_LONG % deadline.limit_s)
    if not 200 <= status < 300:
        raise NotDelivered(f"answered {status}")
    return f"answered {status}"


def objection(url: str) -> str | None:
    """Why this URL cannot be an endpoint, without looking its name up; None when it can."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    allowed = ("https", "http") if settings.WEBHOOK_ALLOW_LOCAL else ("https",)
    if parts.scheme not in allowed or not parts.hostname:
        return f"must be a full {' or '.join(allowed)} URL"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must be printable ASCII without spaces; write an international host name as punycode (xn--…)"
    if parts.username or parts.password or parts.fragment:
        return "must not hold a user name, a password or a fragment"
    if port == 0:
        return "must name a port between 1 and 65535"
    return _host_objection(parts.hostname)


def _host_objection(host: str) -> str | None:
    try:
        return None if may_connect_to(ipaddress.ip_address(host)) else "must be a public address"
    except ValueError:
        pass
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        return "must name a host"
    if labels[-1] == "localhost" and not settings.WEBHOOK_ALLOW_LOCAL:
        return "must be a public address"
    return None


def may_connect_to(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """True for public unicast addresses; loopback too where WEBHOOK_ALLOW_LOCAL is on."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if settings.WEBHOOK_ALLOW_LOCAL and address.is_loopback:
        return True
    if isinstance(address, ipaddress.IPv6Address):
        unicast = address in IPV6_UNICAST and not any(address in block for block in IPV6_EMBEDS_IPV4)
        return unicast and address.is_global
    if any(address in block for block in OF_THE_PLATFORM):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _post(url: str, payload: bytes, headers: dict[str, str], deadline: Deadline) -> int:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    address = _public_address(host, port, deadline)
    known: dict[str, Any] = {"timeout": urllib3.Timeout(total=deadline.left_s), "deadline": deadline}
    pool: urllib3.HTTPConnectionPool
    if parts.scheme == "https":
        pool = EndingTlsPool(address, port, server_hostname=host, assert_hostname=host, **known)
    else:
        pool = EndingPool(address, port, **known)
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
    if not all(may_connect_to(ipaddress.ip_address(address.partition("%")[0])) for address in found):
        raise NotDelivered(NOT_PUBLIC)
    return found[0]


def _what_broke(exc: Exception) -> str:
    """In the words of whatever was at the bottom of it, which name no address."""
    cause: BaseException = exc
    while following := cause.__cause__ or (
        cause.args[1] if isinstance(cause, ProtocolError) and cause.args[1:] else None
    ):
        cause = following
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return f"{type(cause).__name__}: {said}"
