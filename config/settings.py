"""What the machine decides: addresses and secrets, from the environment.

What operators decide (name, currency, time zone, credit value, limits, retention) is the Workspace row in the admin.

| variable | meaning | without it |
|---|---|---|
| `DATABASE_URL` | PostgreSQL 15 or newer | the embedded server under `var/` |
| `REDIS_URL` | Redis | the embedded server under `var/` |
| `SECRET_KEY` | signs sessions and hashes API keys; keep it | a generated one in `var/secret_key` |
| `ALLOWED_HOSTS` | comma separated host names | this machine only |
| `DEBUG` | `1` for tracebacks in the browser | off |
| `VAR_DIR` | where embedded servers keep their data | `var/` beside `manage.py` |
| `METRICS_TOKEN` | bearer token of `/metrics` | `/metrics` answers this machine only |
| `TRUSTED_PROXIES` | how many proxies in front set `X-Forwarded-For` | 0 |
| `EMAIL_URL` | the mail server, `smtp://user:password@host:587`; `config.mail` | no e-mail is sent |
| `EMAIL_FROM` | who e-mails are from | `Meterdesk <meterdesk@localhost>` |
| `SITE_URL` | where people open the admin, for links in e-mails | e-mails carry no link |
| `STRIPE_API_KEY` | Stripe's secret key, of the test mode or the live one | no top-ups by Stripe |
| `STRIPE_WEBHOOK_SECRET` | signing secret of `/stripe/webhook`; two, comma separated, while one replaces the other | events are refused |
| `STRIPE_API_BASE` | another address than Stripe's own, for a simulation | `https://api.stripe.com` |
| `HTTPS` | `1` when users reach the site over HTTPS: secure cookies, HSTS, redirect | off |
"""

import os
from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE

from config import embedded, mail

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(os.environ.get("VAR_DIR") or BASE_DIR / "var")

SECRET_KEY = os.environ.get("SECRET_KEY") or embedded.secret_key(VAR_DIR)
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = [h for h in os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",") if h]
CSRF_TRUSTED_ORIGINS = [f"https://{h.lstrip('*')}" for h in ALLOWED_HOSTS if h not in {"localhost", "127.0.0.1", "[::1]"}]
TRUSTED_PROXIES = int(os.environ.get("TRUSTED_PROXIES", "0"))
METRICS_TOKEN = os.environ.get("METRICS_TOKEN", "")

INSTALLED_APPS = [
    "config",
    "config.base",
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.import_export",
    "unfold.contrib.simple_history",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "axes",
    "django_celery_beat",
    "import_export",
    "ninja",  # the API's docs page is served from our own static files
    "pgtrigger",
    "simple_history",
    "pricing",
    "billing",
    "reports",
]

MIDDLEWARE = [
    "config.base.http.request_id",
    "config.api_chain.short_road",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "axes.middleware.AxesMiddleware",
    "config.time_zone.workspace_time_zone",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
LOGIN_REDIRECT_URL = "admin:index"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# The API's promise is an answer or a 503 within seconds, so every wait is bounded: connecting, locks, statements, idle
# transactions, and TCP for a database that has gone silent. Long work (checks, seals, exports) raises its own limits.
DATABASE_OPTIONS: dict[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    # Prepare what asks for it, the statements of a charge, and nothing that merely comes often. Django's default prepares
    # nothing at all; then planning costs more than charging.
    "prepare_threshold": 2**31,
    "options": "-c statement_timeout=5s -c lock_timeout=3s -c idle_in_transaction_session_timeout=10s",
}
DATABASES = {
    "default": {
        **dj_database_url.parse(os.environ.get("DATABASE_URL") or embedded.database_url(VAR_DIR)),
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": DATABASE_OPTIONS,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = os.environ.get("REDIS_URL") or embedded.redis_url(VAR_DIR)
CELERY_BROKER_URL = embedded.celery_url(REDIS_URL)
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = 3600
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "admin/locked_out.html"
AXES_ENABLE_ACCESS_FAILURE_LOG = False
AXES_VERBOSE = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "config.formats"  # the language's own formats come before plain settings

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "templates" / "static"]
WHITENOISE_USE_FINDERS = True

HTTPS = os.environ.get("HTTPS") == "1"
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 12 * 3600
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000
# Unfold's pages run Alpine, which evaluates expressions and sets styles.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}

EMAIL_URL = os.environ.get("EMAIL_URL", "")
vars().update(mail.settings_of(EMAIL_URL))
DEFAULT_FROM_EMAIL = os.environ.get("EMAIL_FROM") or "Meterdesk <meterdesk@localhost>"
SITE_URL = os.environ.get("SITE_URL", "").rstrip("/")

STRIPE_API_KEY = os.environ.get("STRIPE_API_KEY", "")
STRIPE_API_BASE = os.environ.get("STRIPE_API_BASE", "")
STRIPE_WEBHOOK_SECRETS = [secret.strip() for secret in os.environ.get("STRIPE_WEBHOOK_SECRET", "").split(",") if secret.strip()]

SIMPLE_HISTORY_HISTORY_CHANGE_REASON_USE_TEXT_FIELD = True
IMPORT_EXPORT_ESCAPE_FORMULAE_ON_EXPORT = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    # Each refusal would be a line otherwise; what goes wrong on our side is an error.
    "loggers": {"django.request": {"level": "ERROR"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("LOG_LEVEL", "WARNING")},
}

from config.navigation import UNFOLD  # noqa: E402, F401 - reads nothing from here but must stay last to be found
