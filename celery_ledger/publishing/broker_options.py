"""The options of each kind of broker (Redis or Valkey, RabbitMQ, Amazon SQS), chosen by its URL."""

from typing import Any
from urllib.parse import SplitResult, urlsplit

Options = dict[str, Any]

REDIS = ("redis", "rediss")
AMQP = ("amqp", "amqps", "pyamqp")
SQS = ("sqs",)
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def transport_of_a_worker(url: str) -> str | None:
    """The transport of a worker: the ledger's own for Redis, None for the one of the URL."""
    sturdy = "celery_ledger.celery.transport:SturdyTransport"
    return sturdy if urlsplit(url).scheme in REDIS else None


def transport_of_the_bell(url: str) -> str | None:
    """The transport of the bell: the ledger's own for Redis, None for the one of the URL."""
    ringing = "celery_ledger.celery.transport:RingingTransport"
    return ringing if urlsplit(url).scheme in REDIS else None


def for_a_worker(url: str) -> Options:
    """kombu's transport options of a worker, whose timeouts may be long."""
    parts = urlsplit(url)
    if parts.scheme in REDIS:
        return {
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 25,
            # Redis keeps no list of the bells that a worker has taken (ADR 21)
            "ack_emulation": False,
            "queue_order_strategy": "celery_ledger.celery.transport:QueueOrder",
            "priority_steps": [0],
        }
    if parts.scheme in SQS:
        waits = {"wait_time_seconds": 1, "polling_interval": 0.2, "visibility_timeout": 120}
        return {**_of_sqs(parts), **waits}
    return {}


def for_the_bell(url: str, *, timeout_s: float, region: str | None) -> Options:
    """kombu's transport options of the bell. Its timeouts are short: a request may wait for it."""
    parts = urlsplit(url)
    if parts.scheme in REDIS:
        return {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "max_retries": 0}
    if parts.scheme in AMQP:
        limits = {"read_timeout": timeout_s, "write_timeout": timeout_s, "max_retries": 0}
        return {"confirm_publish": True, **limits}
    if parts.scheme in SQS:
        tries = {"total_max_attempts": 1}
        client = {"connect_timeout": timeout_s, "read_timeout": timeout_s, "retries": tries}
        return {**_of_sqs(parts), "client-config": client, **({"region": region} if region else {})}
    return {}


def queue_arguments(url: str) -> Options | None:
    """The arguments with which queues are declared: on RabbitMQ as quorum queues, else None."""
    return {"x-queue-type": "quorum"} if urlsplit(url).scheme in AMQP else None


def _of_sqs(parts: SplitResult) -> Options:
    return {"is_secure": parts.hostname not in LOOPBACK}
