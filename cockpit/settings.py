"""Django's settings. Every one an operator may set is a `COCKPIT_*` variable in the README's table."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from csp.constants import NONE, SELF

from cockpit import environment, mailing
from cockpit.environment import ROOT, setting, switch

DATA_DIR = environment.data_dir()
WORKSPACE = Path(setting("COCKPIT_WORKSPACE")).resolve() if setting("COCKPIT_WORKSPACE") else None
_running = environment.running()

DEBUG = switch("COCKPIT_DEBUG")
SECRET_KEY = setting("COCKPIT_SECRET_KEY") or environment.secret("secret_key")
AUDIT_KEY = setting("COCKPIT_AUDIT_KEY")
PUBLIC_URL = setting("COCKPIT_URL", _running.get("url", "http://127.0.0.1:8000"))
ALLOWED_HOSTS = setting("COCKPIT_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
SECRETS_KEY = setting("COCKPIT_SECRETS_KEY")
METRICS_OPEN = switch("COCKPIT_METRICS_OPEN")

# --- what the product is made of ---------------------------------------------------------------------------------
INSTALLED_APPS = [
    "cockpit",
    "approvals",
    "finops",
    "agents",
    "django_htmx",
    "template_partials",
    "csp",
    "allauth.account",  # allauth.mfa asks for it; its pages have no address here
    "allauth.mfa",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
AUTH_USER_MODEL = "agents.User"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "cockpit.assets.StaticFilesMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",  # it tells allauth.mfa which request this is, and nothing else
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "cockpit.middleware.PersonMiddleware",
    "cockpit.middleware.DomainErrorMiddleware",
]
# Asked in this order before every action; the strictest answer wins.
# The policies come last: they may name what a call is going to cost.
AGENT_GATES = ["approvals.gates.TierGate", "finops.gates.PriceGate", "approvals.policies.gate.PolicyGate"]
# For how long a person can let an act through, and for how long it may then still happen, where no gate says it.
APPROVAL_HOURS = float(setting("COCKPIT_APPROVAL_HOURS", "24"))
# Who says of an act that gates hold whether a person has let it through ahead.
AGENT_WAIVER = "approvals.run_grants.grants.waives"
AGENT_PRICER = "finops.pricing.price"
# Names of tools are taken once: the demo's are declared only where the demo is.
DEMO = switch("COCKPIT_DEMO", default=bool(_running.get("demo")))
ORGANISATION = setting("COCKPIT_ORGANISATION", "Brambleway Coffee" if DEMO else "Operator cockpit")
AGENT_TOOL_MODULES = ["cockpit.brambleway.tools"] if DEMO else []
# The recording in the workspace to which every answer of a real model is added.
RECORD_MODELS = setting("COCKPIT_RECORD_MODELS")
# Who checks the tables of a release that are no business of publishing itself; each raises errors.Invalid.
AGENT_BUNDLE_TABLES = {"simulated": "agents.llm.plays.read"}

ROOT_URLCONF = "cockpit.urls"
ASGI_APPLICATION = "cockpit.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "cockpit.context.shell",
            ],
        },
    }
]

# --- where the truth is kept ---------------------------------------------------------------------------------------
DATABASE_URL = setting("DATABASE_URL", _running.get("database_url", ""))
REDIS_URL = setting("REDIS_URL", _running.get("redis_url", ""))


def _database(url: str) -> dict[str, Any]:
    """Django's description of the PostgreSQL server at `url`, with a pool per process."""
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": {
            "pool": {"min_size": 0, "max_size": int(setting("COCKPIT_DB_POOL", "8")), "timeout": 20},
            "application_name": "cockpit",
            "prepare_threshold": 5,  # Django's own cursors prepare nothing; the engine's statements ask for it
        },
    }


DATABASES = {"default": _database(DATABASE_URL or "postgresql://cockpit@127.0.0.1:5432/cockpit")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ENGINE_POOL = int(setting("COCKPIT_ENGINE_POOL", "4"))
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL or "redis://127.0.0.1:6379/0",
        "KEY_PREFIX": "cockpit",
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"

# --- the courier: ids only, never the truth ------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL or "redis://127.0.0.1:6379/0"
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "health_check_interval": 10,
    "socket_keepalive": True,
    "socket_timeout": 30,
    "socket_connect_timeout": 2,
}
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
CELERY_TASK_DEFAULT_QUEUE = "model"

# --- telling others -----------------------------------------------------------------------------------------------
_MAIL = mailing.read(setting("EMAIL_URL"), folder=DATA_DIR / "mail")
EMAIL_BACKEND, EMAIL_FILE_PATH = _MAIL.backend, _MAIL.folder
EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _MAIL.host, _MAIL.port, _MAIL.user, _MAIL.password
EMAIL_USE_TLS, EMAIL_USE_SSL, EMAIL_TIMEOUT = _MAIL.starts_tls, _MAIL.is_tls, 15
DEFAULT_FROM_EMAIL = SERVER_EMAIL = setting("COCKPIT_EMAIL_FROM", "cockpit@localhost")
NOTIFY_NETWORKS = environment.networks("COCKPIT_NOTIFY_NETWORKS", setting("COCKPIT_NOTIFY_NETWORKS"))
LINK_HOURS = environment.number("COCKPIT_LINK_HOURS", setting("COCKPIT_LINK_HOURS", "24"))

# --- people ----------------------------------------------------------------------------------------------------------
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "fleet"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
MFA_ADAPTER = "agents.people.factors.Adapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]  # nobody signs up; allauth checks that its settings agree
ACCOUNT_EMAIL_VERIFICATION = "none"
# How long a second factor counts that was shown in this session, where one is asked for.
FRESH_MINUTES = int(setting("COCKPIT_FRESH_MINUTES", "5"))
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = setting("COCKPIT_TIME_ZONE", "UTC")

# --- what leaves the machine: nothing -------------------------------------------------------------------------------
# The two <style> elements that Plotly makes: an empty one, and that of its maps, which changes with its version:
# tests/browser/test_shell.py says so.
_PLOTLY_STYLES = [
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='",
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF, *_PLOTLY_STYLES],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "worker-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}
_SECURE = PUBLIC_URL.startswith("https://")
SECURE_SSL_REDIRECT = False  # TLS ends at the proxy in front; it says so in this header
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _SECURE else None
SECURE_HSTS_SECONDS = 31_536_000 if _SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _SECURE
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _SECURE
SESSION_COOKIE_NAME = f"cockpit_{urlsplit(PUBLIC_URL).port or 'session'}"  # two instances on one host stay apart
CSRF_COOKIE_NAME = f"cockpit_csrf_{urlsplit(PUBLIC_URL).port or ''}"
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = ["security.W008"]  # the redirect to https is the proxy's

STATIC_URL = "static/"
STATICFILES_DIRS = [ROOT / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "cockpit.assets.PackageFinder",
]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s", "datefmt": "%H:%M:%S"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": setting("COCKPIT_LOG_LEVEL", "INFO")},
    "loggers": {
        "httpx2": {"level": "WARNING"},  # a line per request otherwise; what was asked is on the step
    },
}
