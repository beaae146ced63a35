"""Every setting of Kaiten, and the only place that names variables of the environment.

What no variable sets stands in `config/framework.py`, of Django and Celery themselves, and in
`config/limits.py`.
Importing this opens no connection and works with an empty environment, so that a build can run
`collectstatic`. What a start needs beyond that is checked by `config.start.boot`.
"""

from datetime import timedelta
from email.utils import parseaddr
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from config import framework, limits, logs
from config.framework import *  # noqa: F403
from config.limits import *  # noqa: F403
from config.limits import ENVIRONMENT_COLORS, MAIL_TIMEOUT_S
from config.start import broker_url
from config.start import environment as read
from config.start.environment import env, from_environment
from values.shop import LANGUAGES as LANGUAGES_OF_TEXTS
from values.shop import RESERVATION_MAX_MINUTES, WITHDRAWAL_MAX_DAYS

BASE_DIR = Path(__file__).resolve().parent.parent

# --- the start: what it is, and what it needs ---------------------------------------------------
DEBUG: bool = from_environment(read.yes_or_no, "DEBUG", False, "1 or 0")
RANDOM_TEXT = "a long random text of ASCII, like that of `openssl rand -hex 32`"
SECRET_KEY: str = from_environment(
    read.secret, "SECRET_KEY", "development-only-and-not-a-secret" if DEBUG else "", RANDOM_TEXT
)
# Django will not show an empty one, not even to ask whether it is
HAS_SECRET_KEY = bool(SECRET_KEY)
DATABASE_URL: str = env.str("DATABASE_URL", default="")
BROKER_URL: str = broker_url.broker_from(
    BROKER_URL=env.str("BROKER_URL", default=""),
    REDIS_URL=env.str("REDIS_URL", default=""),
    CLOUDAMQP_URL=env.str("CLOUDAMQP_URL", default=""),
)
AWS_DEFAULT_REGION: str = env.str("AWS_DEFAULT_REGION", default="us-east-1")  # of a broker sqs://
HEROKU_DOMAIN: str = from_environment(
    read.hosts, "HEROKU_APP_DEFAULT_DOMAIN_NAME", [""], "a host name like shop-1a2b3c.herokuapp.com"
)[0]
OWN_HOSTS = [host for host in ("localhost", "127.0.0.1", "[::1]", HEROKU_DOMAIN) if host]
ALLOWED_HOSTS: list[str] = from_environment(
    read.hosts,
    "ALLOWED_HOSTS",
    ["*"] if DEBUG else OWN_HOSTS,
    "host names separated by commas, like shop.example.com,www.example.com",
)
WEB_CONCURRENCY: int = from_environment(
    read.positive, "WEB_CONCURRENCY", 1, "a whole number of web processes"
)
CELERY_CONCURRENCY: int = from_environment(
    read.positive, "CELERY_CONCURRENCY", 2, "a whole number of worker processes"
)
REMAP_SIGTERM: str = env.str("REMAP_SIGTERM", default="")  # Celery's; a worker refuses it (ADR 16)
# a dyno is reached from outside, by every address it has
WEB_HOST: str | None = "127.0.0.1" if DEBUG else None
PORT: int = from_environment(read.port_number, "PORT", 8000, "a number between 1 and 65535")

# --- Django ---------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "config",
    "api",
    "demo",
    "ops",
    "orders",
    "notifications",
    "notifications.mail",
    "celery_ledger",
    "axes",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
]
DATABASES: dict[str, dict[str, Any]] = {"default": read.database_from(DATABASE_URL)}
LANGUAGE_CODE: str = from_environment(
    read.of_shop("language"), "SHOP_LANGUAGE", "en", f"one of {', '.join(LANGUAGES_OF_TEXTS)}"
)
LOCALE_PATHS = [BASE_DIR / "config" / "locale"]
TIME_ZONE: str = from_environment(
    read.of_shop("time_zone"), "TIME_ZONE", "Asia/Tokyo", "a time zone like Europe/Berlin"
)

STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG

# --- which installation this is, on each staff page -----------------------------------------------
ENVIRONMENT_NAME: str = env.str(
    "ENVIRONMENT_NAME", default="development" if DEBUG else HEROKU_DOMAIN or "production"
)
ENVIRONMENT_COLOR: str = from_environment(
    read.one_of(*ENVIRONMENT_COLORS),
    "ENVIRONMENT_COLOR",
    "yellow" if DEBUG else "grey",
    f"one of {', '.join(ENVIRONMENT_COLORS)}",
)

# --- at the door ----------------------------------------------------------------------------------
HTTPS_ONLY: bool = from_environment(read.yes_or_no, "HTTPS_ONLY", not DEBUG, "1 or 0")
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if HTTPS_ONLY else 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS_ONLY
# of one key at one web process, see api.conventions.rate_limit
RATE_LIMIT_PER_MINUTE: int = from_environment(
    read.positive,
    "RATE_LIMIT_PER_MINUTE",
    6000,
    "how many requests a key may make in a minute, at least 1",
)
# --- mail and webhooks ----------------------------------------------------------------------------
MAILERS = {
    "default": read.mailer_from(
        from_environment(
            env.email_url,
            "EMAIL_URL",
            "consolemail://",
            "a mail server like smtp+tls://USER:PASSWORD@HOST:587",
        ),
        timeout_s=MAIL_TIMEOUT_S,
    )
}
# those whose reports anymail reads, asks for a password and finds the far server's answer in
MAIL_PROVIDERS = {
    "brevo": "Brevo",
    "mailtrap": "Mailtrap",
    "postmark": "Postmark",
    "sparkpost": "SparkPost",
}
MAIL_EVENTS: str = from_environment(
    read.one_of("", *MAIL_PROVIDERS), "MAIL_EVENTS", "", f"one of {', '.join(MAIL_PROVIDERS)}"
)
MAIL_EVENTS_SECRET: str = from_environment(
    read.name_and_password,
    "MAIL_EVENTS_SECRET",
    "",
    "a name and a long random password, NAME:PASSWORD",
)
ANYMAIL = {"WEBHOOK_SECRET": MAIL_EVENTS_SECRET}
MAIL_TEMPLATES: str = from_environment(
    read.folder, "MAIL_TEMPLATES", "", "a folder with a folder mail/ in it"
)
TEMPLATES = [{**framework.TEMPLATES[0], "DIRS": [MAIL_TEMPLATES] if MAIL_TEMPLATES else []}]
SITE_URL: str = from_environment(
    read.site_url,
    "SITE_URL",
    f"https://{HEROKU_DOMAIN}" if HEROKU_DOMAIN else f"http://127.0.0.1:{PORT}",
    "the address of the shop, https://HOST",
)
DEFAULT_FROM_EMAIL: str = from_environment(
    read.sender,
    "DEFAULT_FROM_EMAIL",
    "Kaiten <shop@localhost>",
    "a mail address like Kaiten <shop@example.com>",
)
# what the shop says of itself, unless a client's row says another thing (`manage.py shop set`)
SHOP: dict[str, str | int] = {
    "name": from_environment(
        read.of_shop("name"),
        "SHOP_NAME",
        parseaddr(DEFAULT_FROM_EMAIL)[0] or "Kaiten",
        "the shop's name, up to 100 characters",
    ),
    "logo_url": from_environment(
        read.of_shop("logo_url"), "SHOP_LOGO_URL", "", "an address like https://HOST/logo.png"
    ),
    "contact": from_environment(
        read.of_shop("contact"), "SHOP_CONTACT", "", "how to reach it, up to 500 characters"
    ),
    "reply_to": from_environment(
        read.of_shop("reply_to"), "SHOP_REPLY_TO", "", "a mail address like hello@example.com"
    ),
    "imprint": from_environment(
        read.of_shop("imprint"), "SHOP_IMPRINT", "", "whose shop it is, up to 4000 characters"
    ),
    "time_zone": TIME_ZONE,
    "language": LANGUAGE_CODE,
    "reservation_minutes": from_environment(
        read.of_shop("reservation_minutes"),
        "SHOP_RESERVATION_MINUTES",
        30,
        f"a whole number of minutes from 1 to {RESERVATION_MAX_MINUTES}",
    ),
    "withdrawal_days": from_environment(
        read.of_shop("withdrawal_days"),
        "SHOP_WITHDRAWAL_DAYS",
        0,
        f"a whole number of days from 0, which is never, to {WITHDRAWAL_MAX_DAYS}",
    ),
}
WEBHOOK_MASTER_KEY: str = from_environment(
    read.secret, "WEBHOOK_MASTER_KEY", SECRET_KEY, RANDOM_TEXT
)
# at a time, to endpoints that are not quick
WEBHOOK_SLOW_CALLS_PER_CLIENT = max(1, CELERY_CONCURRENCY // 2)
WEBHOOK_ALLOW_LOCAL = DEBUG
DIGEST_OF_THE_SHOP = "orders.digest.matters"

# --- orders and payments --------------------------------------------------------------------------
PAYMENT_PROVIDERS = ["sandbox", "stripe"]
PAYMENT_PROVIDER: str = env.str("PAYMENT_PROVIDER", default="sandbox")
STRIPE_SECRET_KEY: str = from_environment(
    read.secret, "STRIPE_SECRET_KEY", "", "sk_… of your account"
)
STRIPE_WEBHOOK_SECRET: str = from_environment(
    read.secret, "STRIPE_WEBHOOK_SECRET", "", "whsec_… of your account"
)
# storefronts get it beside what a customer has to confirm
STRIPE_PUBLISHABLE_KEY: str = from_environment(
    read.secret, "STRIPE_PUBLISHABLE_KEY", "", "pk_… of your account"
)
# also methods that lead the customer to a page of theirs, and what is paid by voucher or debit
STRIPE_REDIRECTS: bool = from_environment(read.yes_or_no, "STRIPE_REDIRECTS", False, "1 or 0")
# else: a double, for tests
STRIPE_API_BASE: str = env.str("STRIPE_API_BASE", default="") or "https://api.stripe.com"
# whether anybody may order at /
DEMO_SHOP: bool = from_environment(read.yes_or_no, "DEMO_SHOP", DEBUG, "1 or 0")
DEMO_ORDERS_PER_HOUR = 10_000 if DEBUG else 120
DEMO_ORDERS_PER_ADDRESS = 10_000 if DEBUG else 5  # of these; each is two mails to whoever is named
# between two of a kind at its panel that breaks things, in a web process
DEMO_BREAK_REST_S = 0.0 if DEBUG else 5.0
REPORT_EMAILS: list[str] = from_environment(
    read.addresses,
    "REPORT_EMAILS",
    [],
    "mail addresses separated by commas, like ann@example.com,hana@example.com",
)
# where the staff chats, which is told what does not arrive
STAFF_CHAT_URL: str = from_environment(
    read.hook_url, "STAFF_CHAT_URL", "", "an incoming webhook of your chat, https://HOST/PATH"
)
# --- the ledger and Celery ------------------------------------------------------------------------
# its further OTEL_… variables are read by its own package
OTEL_EXPORTER_OTLP_ENDPOINT: str = from_environment(
    read.http_url, "OTEL_EXPORTER_OTLP_ENDPOINT", "", "a collector's address, https://HOST:4318"
)
JOBS_KEEP_DAYS: int = from_environment(
    read.days, "JOBS_KEEP_DAYS", 14, f"a whole number of days from 1 to {read.DAYS_MAX}"
)
# a job that may be retried finds what it has told, and tells nobody twice
DELIVERY_KEEP = max(limits.DELIVERY_KEEP, timedelta(days=JOBS_KEEP_DAYS))
LEDGER = {  # the other numbers, with their defaults, stand in celery_ledger/conf.py
    "OWNER": "client",
    "QUEUES": framework.QUEUES,
    "KEEP": timedelta(days=JOBS_KEEP_DAYS),
    "SCRUB": "config.logs.without_addresses",
    "ABOUT": "orders.about.ids_about",
    "METRICS_PREFIX": "kaiten",
    "OTLP_ENDPOINT": OTEL_EXPORTER_OTLP_ENDPOINT,
    "OTLP_SERVICE_NAME": env.str("OTEL_SERVICE_NAME", default="kaiten"),
    "FAILPOINTS": (env.str("FAILPOINTS", default="") or None) if DEBUG else None,  # tests' own
}
CELERY_BROKER_URL = BROKER_URL or None
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"region": AWS_DEFAULT_REGION} if BROKER_URL.startswith("sqs") else {}
)
CELERY_WORKER_CONCURRENCY = CELERY_CONCURRENCY
CELERY_TIMEZONE = TIME_ZONE

# --- numbers, errors and logs: config.web.metrics, config.sentry, config.logs ---------------------
METRICS_TOKEN: str = from_environment(read.secret, "METRICS_TOKEN", "", RANDOM_TEXT)
SENTRY_DSN: str = from_environment(
    read.sentry_dsn, "SENTRY_DSN", "", "the DSN of a Sentry project, https://KEY@HOST/NUMBER"
)
RELEASE: str = env.str("HEROKU_SLUG_COMMIT", default="")
LOG_FORMAT: str = from_environment(
    read.log_format, "LOG_FORMAT", "console" if DEBUG else "logfmt", "logfmt, json or console"
)
LOGGING = logs.configuration(
    LOG_FORMAT, with_sentry=bool(SENTRY_DSN) and find_spec("sentry_sdk") is not None
)
