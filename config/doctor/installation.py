"""Checks of what the shop runs on: its settings, mail server, broker and Postgres."""

from email.utils import parseaddr
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from config import celery_app
from config.doctor.finding import Finding
from config.start.boot import CannotStart, require_settings
from config.web.health import NO_WRITES, database_state
from notifications.mail.smtp import has_mail_server, mail_server_trouble

LIMIT = (
    "SELECT current_setting(%(name)s, true), "
    "current_setting(%(name)s, true)::interval = %(value)s::interval"
)

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def configuration() -> Finding:
    try:
        require_settings(broker=True)
    except CannotStart as exc:
        return Finding("config", str(exc), "Set it and restart every dyno.")
    return Finding("config", "Every setting that a start needs is there.")


def mail() -> Finding:
    is_away = has_mail_server()
    if is_away and (trouble := mail_server_trouble()):
        return Finding(
            "mail",
            f"The mail server takes no mails: {trouble}.",
            "Mend it or EMAIL_URL, then `python manage.py deliveries retry --channel mail`.",
        )
    if settings.DEBUG:
        where = "Mails are sent by a server." if is_away else "Mails stay on this machine."
        return Finding("mail", where)
    return _mail_to_customers()


def _mail_to_customers() -> Finding:
    """Whether it reaches them, leads them to the shop, and can be answered."""
    if "console" in settings.MAILERS["default"]["BACKEND"]:
        return Finding(
            "mail",
            "Mails are printed to the log and reach nobody; it names their readers.",
            "Set EMAIL_URL to a mail server like smtp+tls://USER:PASSWORD@HOST:587.",
        )
    if urlsplit(settings.SITE_URL).hostname in LOOPBACK:
        return Finding(
            "mail",
            f"Mails lead their readers to {settings.SITE_URL}.",
            "Set SITE_URL to the shop's address.",
        )
    if parseaddr(settings.DEFAULT_FROM_EMAIL)[1].endswith("@localhost"):
        sentence = f"Mails come from {settings.DEFAULT_FROM_EMAIL}, which nobody can answer."
        return Finding("mail", sentence, "Set DEFAULT_FROM_EMAIL to an address of the shop.")
    return Finding("mail", "Mails are sent by a server, and lead to the shop.")


def broker() -> Finding:
    if celery_app.amqp.bell.answers():
        return Finding("broker", "The broker takes bells.")
    return Finding(
        "broker",
        "The broker does not answer; orders are taken and wait in Postgres.",
        "Bring the broker back, or check REDIS_URL; the clocks ring everything by themselves.",
    )


def database() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0]
    if database_state() == NO_WRITES:
        return Finding(
            "database",
            f"Postgres {version} answers, but takes no order.",
            (
                "See whether it is a standby, is read-only, has a full disk, "
                "or has taken INSERT from its role."
            ),
        )
    return Finding("database", f"Postgres {version} answers, and takes orders.")


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    unapplied = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not unapplied:
        return Finding("migrations", "Every migration is applied.")
    first = unapplied[0][0]
    sentence = (
        f"Migrations that are not applied: {len(unapplied)}, "
        f"the first is {first.app_label}.{first.name}."
    )
    return Finding("migrations", sentence, "Run `python manage.py release`.")


def limits() -> Finding:
    """As this session has them from its role: docs/invariants.md, I13."""
    wrong = []
    with connection.cursor() as cursor:
        for name, value in settings.POSTGRES_LIMITS.items():
            cursor.execute(LIMIT, {"name": name, "value": value})
            set_to, is_right = cursor.fetchone()
            is_there = set_to is not None  # transaction_timeout is of Postgres 17 and later
            if is_there and not is_right:
                wrong.append(f"{name} is {set_to} instead of {value}")
    if wrong:
        return Finding(
            "limits",
            f"{', '.join(wrong)}.",
            "Run `python manage.py release`, then restart every dyno.",
        )
    return Finding("limits", "The database role has its time limits.")
