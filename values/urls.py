"""URLs that somebody else has us call: https, and in development http on this machine."""

import re
from urllib.parse import urlsplit

LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
NAME = rf"(?:{LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.?"
HERE = r"localhost|127\.0\.0\.1|\[::1\]"  # in development
PORT = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
REST = r"(?:[/?][!-\x22$-~]*)?"  # printable ASCII without #
PUBLIC_URL = re.compile(f"https://{NAME}(?::{PORT})?{REST}")
LOCAL_URL = re.compile(f"https?://(?:{NAME}|{HERE})(?::{PORT})?{REST}")
HOST_MAX_CHARS = 253


def pattern(*, local: bool) -> re.Pattern[str]:
    return LOCAL_URL if local else PUBLIC_URL


def objection(url: str, *, local: bool) -> str | None:
    """Why we do not call this URL, without looking its name up; None when we do. `local`: in
    development.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        return (
            "must be printable ASCII without spaces; "
            "write an international host name as punycode (xn--…)"
        )
    if pattern(local=local).fullmatch(url):
        return None if len(urlsplit(url).hostname or "") <= HOST_MAX_CHARS else "must name a host"
    if not url.startswith("https://") and not (local and url.startswith("http://")):
        return "must be a full https URL, like https://shop.example.com/hooks"
    if "@" in url.partition("://")[2].partition("/")[0] or "#" in url:
        return "must not hold a user name, a password or a fragment"
    return (
        "must name a public host, and if a port one from 1 to 65535, "
        "like https://shop.example.com:8443/hooks"
    )
