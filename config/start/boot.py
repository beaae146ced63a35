"""What a start needs beyond importable settings, and how a failed start says so: one sentence, no
traceback.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, ProgrammingError, connection

log = logging.getLogger(__name__)

# for its time, a lock's or a transaction's limit, and for a full disk
GAVE_UP = ("57014", "55P03", "25P03", "53100")
UNDEFINED_TABLE = "42P01"
# variables that need a package beyond requirements.txt, and the extra that brings it
EXTRAS = {
    "MAIL_EVENTS": ("anymail", "anymail"),
    "SENTRY_DSN": ("sentry_sdk", "sentry"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("opentelemetry", "opentelemetry"),
}


class CannotStart(Exception):
    """The process must not start like this; the text tells the operator what to set."""


def require_settings(*, broker: bool = False) -> None:
    """Raise CannotStart when a setting that every start needs is missing.

    `broker`: a worker cannot do without one; the web dyno takes orders all the same.
    """
    if not settings.HAS_SECRET_KEY:
        raise CannotStart(
            "SECRET_KEY is not set. Set it to a long random text, the same on every dyno."
        )
    _require_long_secrets()
    if not settings.DATABASE_URL:
        raise CannotStart(
            "DATABASE_URL is not set. Set it to postgres://USER:PASSWORD@HOST:PORT/NAME."
        )
    _require_broker(is_worker=broker)
    _require_provider()
    _require_extras()


def _require_broker(*, is_worker: bool) -> None:
    if is_worker and not settings.BROKER_URL:
        raise CannotStart(
            "No broker is set. "
            "Set REDIS_URL to redis://HOST:PORT/0 (or BROKER_URL to another broker)."
        )
    if settings.BROKER_URL.startswith("sqs:") and find_spec("boto3") is None:
        raise CannotStart(
            "The broker is sqs://, but its package is not installed. "
            "Run `bin/lock --extra sqs`, deploy."
        )
    if is_worker and settings.REMAP_SIGTERM:
        raise CannotStart(
            "REMAP_SIGTERM is set; with it a stopping worker drops what it could finish. Unset it."
        )


def _require_provider() -> None:
    if settings.PAYMENT_PROVIDER not in settings.PAYMENT_PROVIDERS:
        names = " or ".join(settings.PAYMENT_PROVIDERS)
        raise CannotStart(f"PAYMENT_PROVIDER is {settings.PAYMENT_PROVIDER!r}. Set it to {names}.")
    if settings.PAYMENT_PROVIDER == "stripe":
        _require_stripe()


def _require_long_secrets() -> None:
    """Of those that are set. In development any will do."""
    for name, least in settings.SECRETS_MIN_CHARS.items():
        if not settings.DEBUG and 0 < len(getattr(settings, name)) < least:
            raise CannotStart(
                f"{name} has fewer than {least} characters. "
                "Set it to what `openssl rand -hex 32` prints."
            )


def _require_extras() -> None:
    if settings.MAIL_EVENTS and not settings.MAIL_EVENTS_SECRET:
        raise CannotStart(
            "MAIL_EVENTS is set, and MAIL_EVENTS_SECRET is not. "
            "Set it to NAME:PASSWORD, and the same in the provider's webhook."
        )
    for name, (module, extra) in EXTRAS.items():
        if getattr(settings, name) and find_spec(module) is None:
            advice = f"Run `bin/lock --extra {extra}` and deploy, or unset it."
            raise CannotStart(f"{name} is set, but its package is not installed. {advice}")


def _require_stripe() -> None:
    for name, form in (("STRIPE_SECRET_KEY", "sk_…"), ("STRIPE_WEBHOOK_SECRET", "whsec_…")):
        if not getattr(settings, name):
            raise CannotStart(
                f"{name} is not set, and PAYMENT_PROVIDER is stripe. "
                f"Set it to {form} of your account."
            )
    if not settings.DEBUG and not settings.STRIPE_API_BASE.startswith("https://"):
        raise CannotStart(
            "STRIPE_API_BASE is not https, and the secret key goes there. Unset it, or set DEBUG=1."
        )
    if find_spec("stripe") is None:
        raise CannotStart(
            "PAYMENT_PROVIDER is stripe, but its package is not installed. "
            "Run `bin/lock --extra stripe` and deploy."
        )


def database_trouble(exc: Exception) -> str:
    """The sentence for a Postgres that cannot be reached, does not let us in, or gives a statement
    up.
    """
    database = settings.DATABASES["default"]
    host, port = database.get("HOST") or "the local socket", database.get("PORT") or 5432
    where = f"{host}:{port}/{database.get('NAME')}"
    reason = " ".join(str(exc).split()) or type(exc).__name__
    if getattr(exc.__cause__, "sqlstate", None) in GAVE_UP:
        return f"Postgres at {where} gave a statement up. It said: {reason}"
    return f"Postgres at {where} does not answer; check DATABASE_URL. It said: {reason}"


def tell_of_absent_database() -> None:
    """Log it when Postgres does not let us in now. A web process starts all the same, and recovers
    with Postgres.
    """
    try:
        connection.ensure_connection()
    except (OperationalError, InterfaceError) as exc:
        log.error(
            "%s. Until it does, orders are refused and /readyz answers 503.",
            database_trouble(exc).rstrip("."),
        )
    finally:
        connection.close()


@contextlib.contextmanager
def say_it_in_a_sentence() -> Iterator[None]:
    """End the process with a sentence instead of a traceback when the configuration is at fault."""
    try:
        yield
    except (CannotStart, ImproperlyConfigured) as exc:
        sys.exit(f"Kaiten cannot start: {exc}")
    except ProgrammingError as exc:
        if getattr(exc.__cause__, "sqlstate", None) != UNDEFINED_TABLE:
            raise
        sys.exit(
            "Kaiten cannot start: the database has no tables yet. "
            "Run `python manage.py release` first."
        )
    except (OperationalError, InterfaceError) as exc:
        sys.exit(f"Kaiten cannot start: {database_trouble(exc)}")
