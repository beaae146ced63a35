"""Every setting of Kaiten, and the only place that names variables of the environment.

Importing this opens no connection and works with an empty environment, so that a build can run
`collectstatic`. What a start needs beyond that is checked by `config.start.boot`.
"""

from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from celery.schedules import crontab
from django.utils.csp import CSP

from config import logs
from config.start import broker_url
from config.start.environment import (
    DAYS_MAX,
    addresses,
    database_from,
    days,
    env,
    from_environment,
    hosts,
    http_url,
    log_format,
    mailer_from,
    port_number,
    positive,
    secret,
    sender,
    sentry_dsn,
    site_url,
    yes_or_no,
)

BASE_DIR = Path(__file__).resolve().parent.parent

# --- the start: what it is, and what it needs ---------------------------------------------------
DEBUG: bool = from_environment(yes_or_no, "DEBUG", False, "1 or 0")
RANDOM_TEXT = "a long random text of ASCII, like that of `openssl rand -hex 32`"
SECRET_KEY: str = from_environment(
    secret, "SECRET_KEY", "development-only-and-not-a-secret" if DEBUG else "", RANDOM_TEXT
)
# else they are guessed
SECRETS_MIN_CHARS = {"SECRET_KEY": 32, "WEBHOOK_MASTER_KEY": 16, "METRICS_TOKEN": 8}
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
    hosts, "HEROKU_APP_DEFAULT_DOMAIN_NAME", [""], "a host name like shop-1a2b3c.herokuapp.com"
)[0]
ALLOWED_HOSTS: list[str] = from_environment(
    hosts,
    "ALLOWED_HOSTS",
    ["*"]
    if DEBUG
    else [host for host in ("localhost", "127.0.0.1", "[::1]", HEROKU_DOMAIN) if host],
    "host names separated by commas, like shop.example.com,www.example.com",
)
WEB_CONCURRENCY: int = from_environment(
    positive, "WEB_CONCURRENCY", 1, "a whole number of web processes"
)
WEB_THREADS = 5  # each keeps a connection to Postgres; with two dynos of each kind they fit into 20
WEB_CONNECTIONS = 500  # of one web process
# for the head of a request; its body may take as long again, and the time it needs at
WEB_READ_LIMIT_S = 10.0
WEB_READ_MIN_BYTES_S = 32 * 1024  # ... a second
WEB_ANSWER_LIMIT_S = 20.0  # for the client to take its answer
# of all requests that are arriving; most of it is on the disk
WEB_ARRIVING_MAX_BYTES = 256 * 1024 * 1024
WEB_WAIT_PLACES = 2  # threads that may wait for a client, when there is no room for its answer
WEB_UNSENT_MAX_BYTES = 16 * 1024 * 1024  # of all answers that wait for their clients
CELERY_CONCURRENCY: int = from_environment(
    positive, "CELERY_CONCURRENCY", 2, "a whole number of worker processes"
)
REMAP_SIGTERM: str = env.str("REMAP_SIGTERM", default="")  # Celery's; a worker refuses it (ADR 16)
# a dyno is reached from outside, by every address it has
WEB_HOST: str | None = "127.0.0.1" if DEBUG else None
PORT: int = from_environment(port_number, "PORT", 8000, "a number between 1 and 65535")

# --- Django ---------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "config",
    "api",
    "demo",
    "orders",
    "notifications",
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
MIDDLEWARE = [
    "config.web.middleware.RequestContext",
    "config.web.health.HealthChecks",
    "config.web.middleware.HttpsOnly",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.web.middleware.ProblemsForTheApi",
    "config.web.middleware.HeadOfTheApi",
    "config.web.middleware.DatabaseTrouble",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES: dict[str, dict[str, Any]] = {"default": database_from(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/admin/"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
LOGIN_PLACES = 1  # of a web process: a password takes a core for up to a second
AXES_FAILURE_LIMIT = 10  # wrong passwords, of a name or from an address
AXES_COOLOFF_TIME = timedelta(minutes=10)  # after which they are forgotten
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_LOCKOUT_CALLABLE = "config.web.login.locked_out"
AXES_CLIENT_IP_CALLABLE = "config.web.login.client_address"
# or whoever goes on trying keeps the right person out
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ja", "日本語")]
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SAMESITE = "Lax"
LOCALE_PATHS = [BASE_DIR / "config" / "locale"]
TIME_ZONE = "Asia/Tokyo"
USE_TZ = True

STATIC_URL = "static/"
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

# --- at the door ----------------------------------------------------------------------------------
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = False  # config.web.middleware.HttpsOnly says why, and does it
HTTPS_ONLY: bool = from_environment(yes_or_no, "HTTPS_ONLY", not DEBUG, "1 or 0")
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if HTTPS_ONLY else 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = HTTPS_ONLY
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_CSP = {
    "default-src": [CSP.SELF],
    "object-src": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
}
BODY_MAX_BYTES = 1024 * 1024
IMPORT_MAX_BYTES = 20 * 1024 * 1024
BODY_MAX_BYTES_OF = {"/v1/imports": IMPORT_MAX_BYTES}  # whose own limit is another
JSON_MAX_DEPTH = 32
JSON_INTEGER_MAX_DIGITS = 18
JSON_VALUES_MAX = 10_000  # of one document; the largest order has some 1,500
PROBLEM_ERRORS_MAX = 50  # that a refusal names; each with so long a pointer and message at most
PROBLEM_TEXT_MAX_CHARS = 500
RATE_LIMIT_PER_MINUTE: int = (
    from_environment(  # of one key at one web process, see api.conventions.rate_limit
        positive,
        "RATE_LIMIT_PER_MINUTE",
        6000,
        "how many requests a key may make in a minute, at least 1",
    )
)
RATE_LIMIT_KEYS_MAX = 10_000
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_MAX_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
FILE_UPLOAD_HANDLERS = ["config.web.error_pages.NoFiles"]

# --- Postgres: no transaction grows old (I13); `manage.py release` sets these for the role -------
POSTGRES_LIMITS = {
    "statement_timeout": "20s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "transaction_timeout": "60s",  # Postgres 17 and later
}
DATABASE_RETRY_AFTER_S = 5
RELEASE_WAIT_S = 600.0  # how long a release waits for another one to end

# --- mail and webhooks ----------------------------------------------------------------------------
MAIL_TIMEOUT_S = 10
MAILERS = {
    "default": mailer_from(
        from_environment(
            env.email_url,
            "EMAIL_URL",
            "consolemail://",
            "a mail server like smtp+tls://USER:PASSWORD@HOST:587",
        ),
        timeout_s=MAIL_TIMEOUT_S,
    )
}
SITE_URL: str = from_environment(
    site_url,
    "SITE_URL",
    f"https://{HEROKU_DOMAIN}" if HEROKU_DOMAIN else f"http://127.0.0.1:{PORT}",
    "the address of the shop, https://HOST",
)
DEFAULT_FROM_EMAIL: str = from_environment(
    sender,
    "DEFAULT_FROM_EMAIL",
    "Kaiten <shop@localhost>",
    "a mail address like Kaiten <shop@example.com>",
)
WEBHOOK_MASTER_KEY: str = from_environment(secret, "WEBHOOK_MASTER_KEY", SECRET_KEY, RANDOM_TEXT)
WEBHOOK_TIMEOUT_S = 5  # for all of a call
# an endpoint whose answers take longer is called once at a time, and rests in between
WEBHOOK_QUICK_S = 1.0
# at a time, to endpoints that are not quick
WEBHOOK_SLOW_CALLS_PER_CLIENT = max(1, CELERY_CONCURRENCY // 2)
WEBHOOK_ALLOW_LOCAL = DEBUG
WEBHOOK_ENDPOINTS_PER_CLIENT = 20
WEBHOOK_SECRET_OVERLAP = timedelta(hours=24)  # for which an old secret signs beside a new one
WEBHOOK_SECRETS_MAX = 5  # of an endpoint that sign at a time
WEBHOOK_REPLAY_MAX = 10_000  # deliveries that one call sends again
# for which one that was sent again is not sent once more
WEBHOOK_REPLAY_REST = timedelta(minutes=5)
DELIVERY_ANSWER_MAX_CHARS = 500
DELIVERY_MAX_TRIES = 13  # with the back-off below, tries go on for about a day
DELIVERY_MAX_AGE = timedelta(days=2)
ENDPOINT_REST_S = 5.0  # after a failure an endpoint is left alone, twice as long each time
ENDPOINT_REST_CAP_S = 300.0
# once it answers again, between one batch (BATCH_ROWS) of its line and the next
ENDPOINT_CALL_UP_PACE_S = 1.0
DELIVERY_BACKOFF_S = 5
DELIVERY_BACKOFF_CAP_S = 4 * 3600

# --- orders and payments --------------------------------------------------------------------------
PAYMENT_PROVIDERS = ["sandbox", "stripe"]
PAYMENT_PROVIDER: str = env.str("PAYMENT_PROVIDER", default="sandbox")
PAYMENT_TIMEOUT_S = 8.0
PAYMENT_MAX_RETRIES = 60
PAYMENT_BACKOFF_CAP_S = 600
# longer than a pause between tries; then somebody asks again
PAYMENT_RECONCILE_AFTER = timedelta(minutes=30)
# a charge of a cancelled order that the provider does not know by then is none
PAYMENT_MOOT_AFTER = timedelta(hours=1)
RESERVATION_KEEP = timedelta(minutes=30)  # goods are set aside for so long
SANDBOX_SLOW_S = 5.0
STRIPE_SECRET_KEY: str = from_environment(secret, "STRIPE_SECRET_KEY", "", "sk_… of your account")
STRIPE_WEBHOOK_SECRET: str = from_environment(
    secret, "STRIPE_WEBHOOK_SECRET", "", "whsec_… of your account"
)
# else: a double, for tests
STRIPE_API_BASE: str = env.str("STRIPE_API_BASE", default="") or "https://api.stripe.com"
STRIPE_SIGNATURE_MAX_AGE_S = 300
STRIPE_CLOCK_SKEW_S = 300  # a payment may be this much older for Stripe's clock than for Postgres'
STRIPE_FIND_MAX_PAGES = 40  # of 100 payments; more do not fit into a task's time limit
# whether anybody may order at /
DEMO_SHOP: bool = from_environment(yes_or_no, "DEMO_SHOP", DEBUG, "1 or 0")
DEMO_ORDERS_PER_HOUR = 10_000 if DEBUG else 120
DEMO_ORDERS_PER_ADDRESS = 10_000 if DEBUG else 5  # of these; each is two mails to whoever is named
# what `Prefer: wait` gets at most; a stopping web process waits longer than that
PREFER_WAIT_MAX_S = 10
# requests of one web process that wait at a time; the other WEB_THREADS are for the others
PREFER_WAIT_PLACES = 2
PREFER_POLL_S = 0.1
IDEMPOTENCY_WAIT_MS = 2000
IDEMPOTENCY_KEEP = timedelta(days=30)

# --- reports (orders/reports/) --------------------------------------------------------------------
REPORT_EMAILS: list[str] = from_environment(
    addresses,
    "REPORT_EMAILS",
    [],
    "mail addresses separated by commas, like ann@example.com,hana@example.com",
)
REPORT_TOP_SKUS = 20
# longer than a transaction (POSTGRES_LIMITS) and than clocks differ
REPORT_SETTLES = timedelta(minutes=2)
REPORT_PART_EVENTS = 20_000  # events that one part of a computation reads
# today is computed while the client waits as long as it has no more events
REPORT_AT_ONCE_EVENTS = 20_000
REPORT_FRESH = timedelta(minutes=5)  # else it is computed by jobs, this often at most
REPORT_RETRY_AFTER_S = 2
REPORT_PATIENCE = timedelta(hours=1)  # a computation that takes longer is given up
REPORT_CATCH_UP_DAYS = 31
# --- bulk imports (orders/imports/) ---------------------------------------------------------------
IMPORT_MAX_ROWS = 100_000
IMPORT_MAX_LINES = 200_000  # empty ones and those within a quoted cell included
IMPORTS_RUNNING_PER_CLIENT = 5
IMPORT_PLACES = 2  # files that a web process reads at a time
IMPORT_RETRY_AFTER_S = 5
IMPORT_ROW_MAX_BYTES = 128 * 1024  # what Python's csv takes as one field
# that quotes which are never closed may have us read again
IMPORT_AGAIN_MAX_BYTES = IMPORT_MAX_BYTES
IMPORT_STAGE_BATCH = 5000  # rows of one COPY
IMPORT_CHUNK_ROWS = 200
IMPORT_PORTION_ROWS = 20  # rows of one look at the time
IMPORT_TURN_S = 1.0  # of one transaction of a chunk; then others may go before it
IMPORT_PACE_S = 1.0  # between looks whether it is a chunk's turn
IMPORT_BACKLOG_MAX = 1000  # due jobs in the bulk queue above which no chunk begins
IMPORT_FAULTS_PER_ORDER = 10
IMPORT_KEEP = timedelta(days=30)

# --- the ledger and Celery ------------------------------------------------------------------------
# its further OTEL_… variables are read by its own package
OTEL_EXPORTER_OTLP_ENDPOINT: str = from_environment(
    http_url, "OTEL_EXPORTER_OTLP_ENDPOINT", "", "the address of a collector, https://HOST:4318"
)
BATCH_ROWS = 200  # that a task of the schedule touches at a time; what is left, the next one finds
PAYMENTS_QUEUE, MAILS_QUEUE = "payments", "mails"
CELERY_TASK_DEFAULT_QUEUE = "kaiten"
LEDGER = {  # the other numbers, with their defaults, stand in celery_ledger/conf.py
    "OWNER": "client",
    "QUEUES": (CELERY_TASK_DEFAULT_QUEUE, PAYMENTS_QUEUE, MAILS_QUEUE, "outside", "bulk"),
    "KEEP": timedelta(
        days=from_environment(
            days, "JOBS_KEEP_DAYS", 14, f"a whole number of days from 1 to {DAYS_MAX}"
        )
    ),
    "SCRUB": "config.logs.without_addresses",
    "METRICS_PREFIX": "kaiten",
    "OTLP_ENDPOINT": OTEL_EXPORTER_OTLP_ENDPOINT,
    "OTLP_SERVICE_NAME": env.str("OTEL_SERVICE_NAME", default="kaiten"),
    "FAILPOINTS": (env.str("FAILPOINTS", default="") or None) if DEBUG else None,  # tests' own
}
CELERY_BROKER_URL = BROKER_URL or None
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"region": AWS_DEFAULT_REGION} if BROKER_URL.startswith("sqs") else {}
)
CELERY_TASK_ROUTES = {
    "orders.tasks.charge": {"queue": PAYMENTS_QUEUE},
    "orders.tasks.refund": {"queue": PAYMENTS_QUEUE},
    "orders.tasks.poll_payment": {"queue": PAYMENTS_QUEUE},
    "orders.tasks.on_provider_event": {"queue": PAYMENTS_QUEUE},
    "notifications.tasks.send_mail": {"queue": MAILS_QUEUE},
}
CELERY_WORKER_CONCURRENCY = CELERY_CONCURRENCY
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULE = {  # promised by the clocks, without a beat process
    "expire-orders": {"task": "orders.tasks.expire_orders", "schedule": 60.0},
    "reconcile-payments": {"task": "orders.tasks.reconcile_payments", "schedule": 300.0},
    "daily-report": {
        "task": "orders.reports.tasks.compute_missing_days",
        "schedule": crontab(hour="0", minute="5"),  # later than REPORT_SETTLES after midnight
        "catch_up": "all",
    },
    "forget-old-keys": {
        "task": "orders.tasks.forget_old_keys",
        "schedule": crontab(hour="4", minute="10"),
    },
    "see-to-imports": {"task": "orders.imports.tasks.see_to_imports", "schedule": 60.0},
    "forget-old-imports": {
        "task": "orders.imports.tasks.forget_old_imports",
        "schedule": crontab(hour="4", minute="20"),
    },
}

# --- what is told about ourselves: config.web.metrics, config.sentry, the ledger's telemetry ----------
METRICS_TOKEN: str = from_environment(secret, "METRICS_TOKEN", "", RANDOM_TEXT)
METRICS_ROWS_MAX = 10_000  # that one statement looks at
METRICS_STATEMENT_TIMEOUT = "2s"
SENTRY_DSN: str = from_environment(
    sentry_dsn, "SENTRY_DSN", "", "the DSN of a Sentry project, https://KEY@HOST/NUMBER"
)
SENTRY_FLUSH_LIMIT_S = 2
RELEASE: str = env.str("HEROKU_SLUG_COMMIT", default="")

# --- logs: one line per event, to stdout (config.logs) --------------------------------------------
LOG_FORMAT: str = from_environment(
    log_format, "LOG_FORMAT", "console" if DEBUG else "logfmt", "logfmt, json or console"
)
LOGGING = logs.configuration(
    LOG_FORMAT, with_sentry=bool(SENTRY_DSN) and find_spec("sentry_sdk") is not None
)
