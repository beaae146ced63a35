"""How a variable of the environment is read: settings.py names each and is the only one to ask
here.

What cannot be read ends in ImproperlyConfigured, whose text says which variable it is and what it
should look like.
"""

import re
from collections.abc import Callable
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
import environ
from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo, timeout_from_conninfo
from psycopg.pq import PGconn

from config.logs import FORMS
from values.addresses import mailable
from values.shop import checked
from values.urls import objection

MAILER = "notifications.mail.smtp.EmailBackend"
OURS = {  # in the place of Django's
    "django.core.mail.backends.smtp.EmailBackend": MAILER,
    "django.core.mail.backends.console.EmailBackend": "notifications.mail.console.EmailBackend",
}


class Env(environ.Env):  # type: ignore[misc]  # has no types
    """A variable that is blank is not set, and the others are taken as they stand.

    django-environ takes one that begins with `$` for the name of another, so that a secret would
    silently be unset.
    """

    def get_value(
        self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, **how: Any
    ) -> Any:
        text = self.ENVIRON.get(var, "")
        if not text.strip() and default is not self.NOTSET:
            return default
        if text.startswith("$"):
            return self.parse_value(text, cast)
        return super().get_value(var, cast=cast, default=default, **how)


env = Env()
# as Django compares them
HOST = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*|\[[0-9a-f:.]+\]", re.ASCII | re.IGNORECASE)
NAME_MAX = 63  # Postgres' own
NOWHERE = "/nowhere"  # a folder of sockets that there is not
DAYS_MAX = 36_500  # a hundred years; much farther back the calendar ends
DATABASE_FORM = "postgres://USER:PASSWORD@HOST:PORT/NAME"
DATABASE_OPTIONS = {  # libpq's own, safe behind PgBouncer; those of the URL go before them
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "kaiten",
}


def from_environment(read: Any, name: str, default: Any, form: str) -> Any:
    """Read one variable, or say which one is wrong and what it should look like."""
    try:
        return read(name, default=default)
    except (ValueError, TypeError, KeyError, ImproperlyConfigured) as exc:
        raise ImproperlyConfigured(
            f"{name} is set to something that cannot be read. Set it to {form}."
        ) from exc


def yes_or_no(name: str, default: bool) -> bool:
    """1, true, yes, on or their opposites; anything else is a mistake and not a no."""
    word = env.str(name, default="").lower()
    if not word:
        return default
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError(word)


def addresses(name: str, default: list[str]) -> list[str]:
    """Mail addresses separated by commas, each once."""
    found = dict.fromkeys(address.strip() for address in env.list(name, default=default))
    for address in found:
        if not is_address(address):
            raise ValueError(address)
    return list(found)


def sender(name: str, default: str) -> str:
    """A mail address, perhaps with a name before it."""
    text: str = env.str(name, default="") or default
    if not (text.isprintable() and is_address(parseaddr(text)[1])):
        raise ValueError(text)
    return text


def is_address(text: str) -> bool:
    try:
        return bool(mailable(text))
    except ValueError:
        return False


def hosts(name: str, default: list[str]) -> list[str]:
    """Names of hosts separated by commas: no scheme, no port, no path, which would match no
    request.
    """
    found = [host.strip() for host in env.list(name, default=[])]
    if not all(HOST.fullmatch(host) for host in found):
        raise ValueError(found)
    return found or default


def positive(name: str, default: int) -> int:
    """A whole number from 1 on: with none of something a process would start and do nothing."""
    number: int = env.int(name, default=default)
    if number < 1:
        raise ValueError(number)
    return number


def port_number(name: str, default: int) -> int:
    number = positive(name, default)
    if number > 65535:
        raise ValueError(number)
    return number


def days(name: str, default: int) -> int:
    """A whole number of days, as many as are still in the calendar when counted back from today."""
    number = positive(name, default)
    if number > DAYS_MAX:
        raise ValueError(number)
    return number


def log_format(name: str, default: str) -> str:
    form: str = env.str(name, default="") or default
    if form not in FORMS:
        raise ValueError(form)
    return form


def http_url(name: str, default: str) -> str:
    url: str = env.str(name, default="") or default
    parts = urlsplit(url)
    if url and not (
        parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and " " not in url
    ):
        raise ValueError(url)
    return url


def hook_url(name: str, default: str) -> str:
    """As an endpoint may have it: https, and with DEBUG http on this machine."""
    url: str = env.str(name, default="") or default
    if url and objection(url, local=yes_or_no("DEBUG", default=False)):
        raise ValueError(name)
    return url


def of_shop(field: str) -> Callable[[str, Any], Any]:
    """Reads what the shop says of itself there."""

    def read(name: str, default: Any) -> Any:
        text = env.str(name, default="").replace("\\n", "\n")
        return checked(field, text) if text else default

    return read


def one_of(*words: str) -> Callable[[str, str], str]:
    """Reads one of these words."""

    def read(name: str, default: str) -> str:
        word = env.str(name, default="") or default
        if word not in words:
            raise ValueError(word)
        return str(word)

    return read


def secret(name: str, default: str) -> str:
    """What can stand in a header, and in a file a shell reads: printable ASCII without spaces."""
    text: str = env.str(name, default="") or default
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError(name)
    return text


def name_and_password(name: str, default: str) -> str:
    """As HTTP basic auth has them."""
    text = secret(name, default)
    who, _, password = text.partition(":")
    if text and not (who and password):
        raise ValueError(name)
    return text


def folder(name: str, default: str) -> str:
    """One that is there and has a folder mail/ in it."""
    path: str = env.str(name, default="") or default
    if path and not (Path(path) / "mail").is_dir():
        raise ValueError(path)
    return path


def site_url(name: str, default: str) -> str:
    """Without a slash at its end, a query or a fragment: a path follows."""
    url = http_url(name, default)
    if {"?", "#"} & set(url):
        raise ValueError(url)
    return url.rstrip("/")


def sentry_dsn(name: str, default: str) -> str:
    url = http_url(name, default)
    if url and not (urlsplit(url).username and url.rpartition("/")[2].isdecimal()):
        raise ValueError(url)
    return url


def database_from(url: str) -> dict[str, Any]:
    """One Postgres connection per thread, kept and checked."""
    if not url:
        return {}
    config = _parsed(url)
    if config["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured(f"DATABASE_URL must name a Postgres database: {DATABASE_FORM}.")
    if not 0 < len(config["NAME"]) <= NAME_MAX:
        raise ImproperlyConfigured(
            f"DATABASE_URL needs the name of a database after the host: {DATABASE_FORM}."
        )
    options = config.get("OPTIONS", {})
    _require_known(options)
    config["OPTIONS"] = DATABASE_OPTIONS | options
    # PgBouncer gives the next statement to another session
    config["DISABLE_SERVER_SIDE_CURSORS"] = True
    return config


def _parsed(url: str) -> dict[str, Any]:
    try:
        return dict(dj_database_url.parse(url, conn_max_age=600, conn_health_checks=True))
    except ValueError as exc:
        raise ImproperlyConfigured(
            f"DATABASE_URL cannot be read. Set it to {DATABASE_FORM}."
        ) from exc


def _require_known(options: dict[str, Any]) -> None:
    """By libpq, with their values."""
    try:
        make_conninfo(**options)
        timeout_from_conninfo(options)
        _refuse_values_libpq_refuses(options)
    except ProgrammingError as exc:
        reason = " ".join(str(exc).split())
        raise ImproperlyConfigured(
            f"DATABASE_URL holds an option, or a value, that Postgres does not know: {reason}."
        ) from exc


def _refuse_values_libpq_refuses(options: dict[str, Any]) -> None:
    """libpq looks at its options before anything else, so it is led to where nothing is. Raises
    ProgrammingError in its words.
    """
    nowhere = make_conninfo(**{**options, "host": NOWHERE})
    message = PGconn.connect_start(nowhere.encode()).error_message.decode()
    if message.startswith("invalid "):
        raise ProgrammingError(message)


def mailer_from(config: dict[str, Any], *, timeout_s: int) -> dict[str, Any]:
    """django-environ's reading of EMAIL_URL in the shape of Django's MAILERS."""
    options: dict[str, Any] = {}
    if "smtp" in config["EMAIL_BACKEND"]:
        if not config["EMAIL_HOST"]:
            raise ImproperlyConfigured(
                "EMAIL_URL names no server. Set it to smtp+tls://USER:PASSWORD@HOST:587."
            )
        options = {
            "host": config["EMAIL_HOST"],
            "port": config["EMAIL_PORT"] or 25,
            "username": config["EMAIL_HOST_USER"] or "",
            "password": config["EMAIL_HOST_PASSWORD"] or "",
            "use_tls": bool(config.get("EMAIL_USE_TLS")),
            "use_ssl": bool(config.get("EMAIL_USE_SSL")),
            "timeout": timeout_s,
        }
    elif "filebased" in config["EMAIL_BACKEND"]:
        options = {"file_path": config["EMAIL_FILE_PATH"]}
    name = config["EMAIL_BACKEND"]
    return {"BACKEND": OURS.get(name, name), "OPTIONS": options}
