"""What each kind of broker needs, told by its URL alone: Redis or Valkey, RabbitMQ, Amazon SQS."""

import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ImproperlyConfigured
from kombu import Connection

Options = dict[str, Any]

REDIS = ("redis", "rediss")
AMQP = ("amqp", "amqps", "pyamqp")
OR_WHAT = {
    "BROKER_URL": " or a URL of RabbitMQ or SQS, or unset it",
    "REDIS_URL": "",
    "CLOUDAMQP_URL": " or amqps://USER:PASSWORD@HOST/VHOST",
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def broker_from(**urls: str) -> str:
    """The first that is set: a URL of a broker that Celery knows; anything else it would take for a host of RabbitMQ.

    A rediss:// URL that does not say how to check the certificate gets kombu's own default, not at all: platforms sign
    their brokers' certificates themselves, and a bell holds a job's id and no authority.
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


def transport_of(url: str) -> str | None:
    """The transport to name to Celery, where it is not the one that the URL names."""
    return (
        "celery_ledger.celery.transport:SturdyTransport" if urlsplit(url).scheme in REDIS else None
    )


def transport_of_the_bell(url: str) -> str | None:
    return (
        "celery_ledger.celery.transport:RingingTransport" if urlsplit(url).scheme in REDIS else None
    )


def for_a_worker(url: str, *, region: str) -> Options:
    """kombu's transport options of a worker, which waits for its broker."""
    parts = urlsplit(url)
    if parts.scheme in REDIS:
        return {
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "ack_emulation": False,  # a bell that was taken is in nobody's books but the worker's own (ADR 21)
            "queue_order_strategy": "priority",  # the queues in their order, each when those before it are empty
            "priority_steps": [0],
        }
    if parts.scheme == "sqs":
        return {
            **_sqs(parts, region),
            "wait_time_seconds": 1,
            "polling_interval": 0.2,
            "visibility_timeout": 120,
        }
    return {}


def for_the_bell(url: str, *, region: str, timeout_s: float) -> Options:
    """kombu's transport options of whoever rings: short, since a request may be waiting behind it."""
    parts = urlsplit(url)
    if parts.scheme in REDIS:
        return {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "max_retries": 0}
    if parts.scheme in AMQP:
        return {
            "confirm_publish": True,
            "read_timeout": timeout_s,
            "write_timeout": timeout_s,
            "max_retries": 0,
        }
    if parts.scheme == "sqs":
        client = {
            "connect_timeout": timeout_s,
            "read_timeout": timeout_s,
            "retries": {"total_max_attempts": 1},
        }
        return {**_sqs(parts, region), "client-config": client}
    return {}


def queue_arguments(url: str) -> Options | None:
    """Of each queue, as the broker is to keep it: RabbitMQ's with a majority of its nodes."""
    return {"x-queue-type": "quorum"} if urlsplit(url).scheme in AMQP else None


def _sqs(parts: SplitResult, region: str) -> Options:
    return {"region": region, "is_secure": parts.hostname not in LOOPBACK}


def _read(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        port = parts.port
        if parts.scheme in (*REDIS, *AMQP):
            Connection(
                url
            )  # only reads it: an option that nobody knows would end a worker in a traceback
    except (ValueError, TypeError, KeyError):
        return None
    if port == 0 or parts.scheme not in (*REDIS, *AMQP, "sqs"):
        return None
    return None if parts.scheme in REDIS and not re.fullmatch(r"(/[0-9]*)?", parts.path) else parts
