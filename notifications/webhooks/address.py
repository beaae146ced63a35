"""Which URLs an endpoint may have, and which addresses a call may connect to: public ones only."""

import ipaddress
import re
from urllib.parse import urlsplit

from django.conf import settings

from notifications.models import NotDelivered
from notifications.webhooks.deadline import Deadline

LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
NAME = rf"(?:{LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.?"
HERE = r"localhost|127\.0\.0\.1|\[::1\]"  # in development
PORT = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
REST = r"(?:[/?][!-\"$-~]*)?"  # printable ASCII without #
PUBLIC_URL = re.compile(f"https://{NAME}(?::{PORT})?{REST}")
LOCAL_URL = re.compile(f"https?://(?:{NAME}|{HERE})(?::{PORT})?{REST}")
HOST_MAX_CHARS = 253
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


def public_address(host: str, port: int, deadline: Deadline) -> str:
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
