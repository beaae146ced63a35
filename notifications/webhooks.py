"""The edge to a client's server: one signed POST per try (Standard Webhooks), to a public address only.

The name is resolved once, the address is judged and then connected to, with the name kept for TLS: a second lookup
cannot answer differently. No redirects; no more than the headers of the answer is read.
"""

import ipaddress
import json
import re
import socket
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import urllib3
from django.conf import settings
from standardwebhooks import Webhook

from notifications.models import Delivery, NotDelivered

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
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
    try:
        status = _post(url, text.encode(), headers)
    except (OSError, urllib3.exceptions.HTTPError, UnicodeError) as exc:
        raise NotDelivered(f"{type(exc).__name__}: {exc}") from exc
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
    return address.is_global and not address.is_multicast and not address.is_reserved


def _post(url: str, payload: bytes, headers: dict[str, str]) -> int:
    parts = urlsplit(url)
    host = parts.hostname or ""
    address = _resolve(host, parts.port or (443 if parts.scheme == "https" else 80))
    timeout = urllib3.Timeout(total=settings.WEBHOOK_TIMEOUT_S)
    pool: urllib3.HTTPConnectionPool
    if parts.scheme == "https":
        pool = urllib3.HTTPSConnectionPool(
            address[0], address[1], timeout=timeout, server_hostname=host, assert_hostname=host
        )
    else:
        pool = urllib3.HTTPConnectionPool(address[0], address[1], timeout=timeout)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    begun_at = time.monotonic()
    with pool:
        answer = pool.urlopen(
            "POST", target, body=payload, headers={**headers, "host": parts.netloc},
            retries=False, redirect=False, preload_content=False,
        )  # fmt: skip
        answer.close()  # the status says it all; a body could drip for ever
    if time.monotonic() - begun_at > settings.WEBHOOK_TIMEOUT_S:  # the sockets' limit is for each read
        raise NotDelivered(f"took longer than {settings.WEBHOOK_TIMEOUT_S:g} s")
    return answer.status


def _resolve(host: str, port: int) -> tuple[str, int]:
    """The first address of this name, if we may connect to every one of them."""
    found = [entry[4] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for entry in found:
        if not may_connect_to(ipaddress.ip_address(str(entry[0]).partition("%")[0])):
            raise NotDelivered(f"{host} resolves to {entry[0]}, which is not a public address")
    return str(found[0][0]), port
