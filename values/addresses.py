"""Addresses of mail: the one place that knows which can be mailed, and to what a mail then goes.

Whoever checks an address and whoever sends to it ask here, so that no mail goes elsewhere than was
checked. A domain is read by IDNA 2008, as browsers do: `straße.de` is not `strasse.de`.
"""

import re

import idna

LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
# what needs no quotes; carriers have issued addresses that do: da..me@docomo.ne.jp
DOT_ATOM = re.compile(r"[^.]+(?:\.[^.]+)*")
DOMAIN = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
DOMAIN_MAX_CHARS = 253


def mailable(address: str) -> str:
    """The address in ASCII, as it stands in an envelope (RFC 5321). Raises ValueError for what no
    mail can go to; its text does not repeat the address.
    """
    local, _, domain = address.rpartition("@")
    if not LOCAL.fullmatch(local):
        raise ValueError("no mail can go to what stands before its @")
    return f"{local if DOT_ATOM.fullmatch(local) else f'"{local}"'}@{in_ascii(domain)}"


def mailbox(address: str) -> str:
    """The address of a person: one text for all ways to write it that reach the same one. Raises as
    `mailable`.
    """
    mailable(address)
    local, _, domain = address.rpartition("@")
    return f"{local}@{in_ascii(domain)}".lower()


def in_ascii(domain: str) -> str:
    """The name of a domain as mail goes to it. Raises ValueError for a text that is none."""
    try:
        name = domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        name = ""
    if not DOMAIN.fullmatch(name) or len(name) > DOMAIN_MAX_CHARS:
        raise ValueError("no mail can go to its domain")
    return name
