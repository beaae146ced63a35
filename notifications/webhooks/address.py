"""Which URLs an endpoint may have, and which addresses a call may connect to: public ones only."""

import ipaddress
import re

from django.conf import settings

from notifications.models import NotDelivered
from notifications.webhooks.deadline import Deadline
from values import urls

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
    return urls.pattern(local=settings.WEBHOOK_ALLOW_LOCAL)


def objection(url: str) -> str | None:
    """Why this URL cannot be an endpoint, without looking its name up; None when it can."""
    return urls.objection(url, local=settings.WEBHOOK_ALLOW_LOCAL)


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
    """The first address of this name, if a call may connect to every one of them. Raises
    TimeoutError, and NotDelivered with the same words whether the name has no address or an inner
    one: nobody is to learn which names are known inside.
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
