"""The settings of Django and Celery that no variable sets: what a request goes through, who may log
in, what a page may load; which task goes to which queue, and what is done when.
"""

from celery.schedules import crontab
from django.utils.csp import CSP

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
LANGUAGES = [("en", "English"), ("ja", "日本語")]
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SAMESITE = "Lax"
USE_TZ = True
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/ops/"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 3600  # seconds: a working day of the staff
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_LOCKOUT_CALLABLE = "config.web.login.locked_out"
AXES_CLIENT_IP_CALLABLE = "config.web.login.client_address"
# or whoever goes on trying keeps the right person out
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = False  # config.web.middleware.HttpsOnly says why, and does it
X_FRAME_OPTIONS = "DENY"
SECURE_CSP = {
    "default-src": [CSP.SELF],
    "object-src": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
}
FILE_UPLOAD_HANDLERS = ["config.web.error_pages.NoFiles"]

CELERY_TASK_DEFAULT_QUEUE = "kaiten"
PAYMENTS_QUEUE, MAILS_QUEUE = "payments", "mails"
QUEUES = (CELERY_TASK_DEFAULT_QUEUE, PAYMENTS_QUEUE, MAILS_QUEUE, "outside", "bulk")
CELERY_TASK_ROUTES = {
    "orders.tasks.charge": {"queue": PAYMENTS_QUEUE},
    "orders.tasks.refund": {"queue": PAYMENTS_QUEUE},
    "orders.tasks.poll_payment": {"queue": PAYMENTS_QUEUE},
    "orders.tasks.on_provider_event": {"queue": PAYMENTS_QUEUE},
    "notifications.tasks.send_mail": {"queue": MAILS_QUEUE},
}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_BEAT_SCHEDULE = {  # promised by the clocks, without a beat process
    "expire-orders": {"task": "orders.tasks.expire_orders", "schedule": 60.0},
    "reconcile-payments": {"task": "orders.tasks.reconcile_payments", "schedule": 300.0},
    "daily-report": {
        "task": "orders.reports.tasks.compute_missing_days",
        "schedule": crontab(hour="0", minute="5"),  # later than REPORT_SETTLES after midnight
        "catch_up": "all",
    },
    "forget-old-keys": {"task": "orders.tasks.forget_old_keys", "schedule": crontab("10", "4")},
    "tell-of-trouble": {"task": "notifications.oversight.tasks.tell_of_trouble", "schedule": 300.0},
    "warn-owners": {"task": "notifications.oversight.tasks.warn_owners", "schedule": 300.0},
    "see-to-imports": {"task": "orders.imports.tasks.see_to_imports", "schedule": 60.0},
    "count-imports": {"task": "orders.imports.tasks.count_imports", "schedule": 300.0},
    "forget-old-exports": {
        "task": "orders.exports.tasks.forget_old_exports",
        "schedule": crontab(hour="4", minute="30"),
    },
    "forget-old-imports": {
        "task": "orders.imports.tasks.forget_old_imports",
        "schedule": crontab(hour="4", minute="20"),
    },
    "forget-old-deliveries": {
        "task": "notifications.tasks.forget_old_deliveries",
        "schedule": crontab(hour="4", minute="40"),
    },
}
