"""The URL of the broker, from whichever variable has it."""

import re
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ImproperlyConfigured
from kombu import Connection

REDIS = ("redis", "rediss")
AMQP = ("amqp", "amqps", "pyamqp")
OR_WHAT = {
    "BROKER_URL": " or a URL of RabbitMQ or SQS, or unset it",
    "REDIS_URL": "",
    "CLOUDAMQP_URL": " or amqps://USER:PASSWORD@HOST/VHOST",
}


def broker_from(**urls: str) -> str:
    """The first that is set, if it is of a broker that Celery knows; else Celery would take it for
    a host of RabbitMQ.

    A rediss:// URL that does not say how to check the certificate gets kombu's own default, not at
    all: platforms sign their brokers' certificates themselves, and a bell holds a job's id and no
    authority.
    """
    name, url = next(((name, url) for name, url in urls.items() if url), ("", ""))
    if not url:
        return url
    parts = _read(url)
    if parts is None:
        raise ImproperlyConfigured(
            f"The broker's URL cannot be read. Set {name} to redis://HOST:PORT/0{OR_WHAT[name]}."
        )
    if parts.scheme == "rediss" and "ssl_" not in parts.query:
        query = "&".join(filter(None, [parts.query, "ssl_cert_reqs=none"]))
        return parts._replace(query=query, path=parts.path or "/0").geturl()
    return url


def _read(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        port = parts.port
        if parts.scheme in (*REDIS, *AMQP):
            Connection(url)  # only reads it: an unknown option would end a worker in a traceback
    except (ValueError, TypeError, KeyError):
        return None
    if port == 0 or parts.scheme not in (*REDIS, *AMQP, "sqs"):
        return None
    is_odd = parts.scheme in REDIS and not re.fullmatch(r"(/[0-9]*)?", parts.path)
    return None if is_odd else parts
