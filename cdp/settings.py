"""Every setting of the product, from the environment; names start with CDP_.

The defaults run the whole product on one machine with nothing else installed.
"""

import os
from pathlib import Path
from typing import Any

import environ

from cdp import embedded, environment, secret_key
from cdp.look import CONTENT_SECURITY_POLICY as CONTENT_SECURITY_POLICY
from cdp.look import FORMAT_MODULE_PATH as FORMAT_MODULE_PATH
from cdp.look import UNFOLD as UNFOLD

BASE_DIR = Path(__file__).resolve().parent.parent
env = environment.Environment(os.environ)
_days = environment.number(0, 36_500)

# What an operator sets
DATA_DIR = Path(env.text("CDP_DATA_DIR", str(BASE_DIR / "var"))).resolve()
DATABASE_URL = env.read("DATABASE_URL", "", environment.database, is_secret=True)
DATABASE_URL = DATABASE_URL or embedded.url(DATA_DIR)
DEBUG = env.read("CDP_DEBUG", False, environment.switch)
DEMO = env.read("CDP_DEMO", True, environment.switch)
HOST = env.text("CDP_HOST", "127.0.0.1")
PORT = env.read("CDP_PORT", 8000, environment.number(0, 65_535))
# How customers reach this product from outside: the beginning of links in messages.
_origin = f"http://[{HOST}]:{PORT}" if ":" in HOST else f"http://{HOST}:{PORT}"
PUBLIC_URL = env.read("CDP_PUBLIC_URL", _origin, environment.web_address)
ADMIN_PASSWORD = env.text("CDP_ADMIN_PASSWORD")  # of the first start; empty: one is made up
CURRENCY = env.read("CDP_CURRENCY", "CHF", environment.currency)
TIME_ZONE = env.read("CDP_TIME_ZONE", "Europe/Zurich", environment.time_zone)
ALLOWED_HOSTS: list[str] = env.read(
    "CDP_ALLOWED_HOSTS",
    ["*"],
    environment.each(environment.is_host, "host names, as cdp.example.com"),
)
CSRF_TRUSTED_ORIGINS: list[str] = env.read(
    "CDP_TRUSTED_ORIGINS",
    [],
    environment.each(environment.is_origin, "origins, as https://cdp.example.com"),
)
# How e-mail leaves: smtp+tls://user:password@host:587, or a provider's backend of anymail such as
# anymail.backends.brevo.EmailBackend with CDP_ANYMAIL='{"BREVO_API_KEY": "…"}'.
_mail: dict[str, Any] = env.read("CDP_EMAIL_URL", {}, environment.mail_server, is_secret=True)
EMAIL_BACKEND = env.read("CDP_EMAIL_BACKEND", "", environment.backend)
EMAIL_BACKEND = EMAIL_BACKEND or _mail.get("EMAIL_BACKEND", "")
EMAIL_HOST = _mail.get("EMAIL_HOST") or "localhost"
EMAIL_PORT = _mail.get("EMAIL_PORT") or 25
EMAIL_HOST_USER = _mail.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = _mail.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = _mail.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _mail.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
ANYMAIL: dict[str, Any] = env.read("CDP_ANYMAIL", {}, environment.provider, is_secret=True)
# For how many days the log of messages is kept; 0: for ever. What waits is kept anyway.
DELIVERY_LOG_DAYS = env.read("CDP_DELIVERY_LOG_DAYS", 90, _days)
# Networks outside the public internet that webhooks may reach, e.g. "10.1.0.0/16,127.0.0.0/8".
WEBHOOK_ALLOW_PRIVATE: list[str] = env.read(
    "CDP_WEBHOOK_ALLOW_PRIVATE",
    [],
    environment.each(environment.is_network, "networks, as 10.1.0.0/16"),
)

# Of "email" and "phone" those whose shared value makes two profiles one; other kinds always do.
TRUSTED_IDENTIFIERS: list[str] = env.read(
    "CDP_TRUSTED_IDENTIFIERS",
    [],
    environment.each(("email", "phone").__contains__, "email, phone or both"),
)
# Kinds of ours that several people share: they join no profiles.
SHARED_IDENTIFIERS: list[str] = env.read(
    "CDP_SHARED_IDENTIFIERS",
    [],
    environment.each(environment.is_kind_of_ours, "kinds of your own, as household"),
)
# How many identifiers of a kind one profile takes: anonymous_id=1000,loyalty=3.
_limits = {"anonymous_id": 1_000, "email": 100, "phone": 100}
IDENTIFIER_LIMITS = env.read("CDP_IDENTIFIER_LIMITS", _limits, environment.limits(_limits))
NEVER_IDENTIFIERS = {  # values that name nobody here, besides the usual "null" and "guest"
    word.lower() for word in environment.words(env.text("CDP_NEVER_IDENTIFIERS"))
}
WAITING_DAYS = env.read("CDP_WAITING_DAYS", 90, environment.number(0, 3_650))  # of e-mail events
TOMBSTONE_DAYS = env.read("CDP_TOMBSTONE_DAYS", 0, _days)  # of erased people; 0: for ever
ERASURE_LOG = env.read("CDP_ERASURE_LOG", DATA_DIR / "erasures.jsonl", environment.file)
# Of phone numbers without a country code (ISO 3166).
COUNTRY = env.read("CDP_COUNTRY", "CH", environment.country)
# HTTPS is the proxy's business; behind one, this makes cookies and redirects strict.
HTTPS = env.read("CDP_HTTPS", False, environment.switch)
env.check()

SECRET_KEY = env.text("CDP_SECRET_KEY") or secret_key.stored(DATA_DIR)
# Encrypts secrets of destinations; the first key encrypts, all of them decrypt.
SALT_KEY = env.read("CDP_SALT_KEY", [SECRET_KEY], environment.words)

MAX_REQUEST_BYTES = 5 * 1024 * 1024  # of a collection request, decompressed

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.import_export",
    "unfold.contrib.simple_history",
    "cdp",
    "cdp.demo",
    "activation",
    "segments",
    "events",
    "customers",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_filters",
    "django_q",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "import_export",
    "rest_framework",
    "simple_history",
]

MIDDLEWARE = [
    "events.hosts.AnyHost",
    "django.middleware.security.SecurityMiddleware",
    "cdp.browser_policy.BrowserPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "cdp.privacy.Privacy",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "cdp.urls"
WSGI_APPLICATION = "cdp.wsgi.application"

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
                "csp.context_processors.nonce",
            ]
        },
    }
]

# One database. Connections persist, one per thread: opening one costs more than most requests.
DATABASES = {"default": environ.Env.db_url_config(DATABASE_URL)}
DATABASES["default"] |= {
    "ENGINE": "django.db.backends.postgresql",
    "CONN_MAX_AGE": None,
    "CONN_HEALTH_CHECKS": True,
    "DISABLE_SERVER_SIDE_CURSORS": False,
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The queue: every number was measured or has bitten somebody, see docs/operations.md.
Q_CLUSTER = {
    "name": "cdp",
    "orm": "default",
    "workers": 3,
    "queue_limit": 3,
    "bulk": 1,
    "timeout": 60,
    "retry": 300,
    "max_attempts": 5,
    "ack_failures": False,
    "poll": 0.2,
    "save_limit": -1,
    "catch_up": False,
    "recycle": 500,
    "guard_cycle": 0.5,
    "label": "Background work",
    # Sending has workers of its own, which nothing that takes long can hold. Two of them: one may
    # still wait for slow receivers while the next sends. Q_CLUSTER_NAME=sending starts it.
    "ALT_CLUSTERS": {"sending": {"workers": 2, "queue_limit": 2, "poll": 0.1}},
}

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "cdp.proxy.client_address"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = "en"
USE_TZ = True
USE_I18N = True
APPEND_SLASH = False  # a redirected POST becomes a GET that a client takes for success

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
MEDIA_ROOT = DATA_DIR / "uploads"
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
FILE_UPLOAD_TEMP_DIR = None
# Imports and exports are full of personal data: nobody else on the machine may read them.
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700
DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 1024 * 1024

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_SSL_REDIRECT = HTTPS
# Pages for people only: a redirect makes clients lose what they send, and probes fail.
SECURE_REDIRECT_EXEMPT = ["^(?!$|admin/|demo/|unsubscribe/)"]
# What other names of the operator's domain do is not this product's to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "cdp.apikeys.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["cdp.apikeys.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["cdp.apikeys.Throttle"],
    "DEFAULT_RENDERER_CLASSES": ["cdp.wire.ExactJSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "cdp.wire.JSONOrFile",
    "DEFAULT_PARSER_CLASSES": ["cdp.wire.ExactJSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["customers.apikit.StrictFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "cdp.pagination.CursorPagination",
    "DEFAULT_SCHEMA_CLASS": "cdp.schema.AutoSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
    "COERCE_DECIMAL_TO_STRING": False,
}
DRF_STANDARDIZED_ERRORS = {"EXCEPTION_HANDLER_CLASS": "cdp.errors.ExceptionHandler"}
SPECTACULAR_SETTINGS = {
    "TITLE": "CDP",
    "DESCRIPTION": "Customers, what they did, the segments they are in, and who is told.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "cdp.schema.add_errors",
    ],
    "ENUM_NAME_OVERRIDES": {
        "ImportKindEnum": "customers.models.ImportKind.choices",
        "SegmentKindEnum": "segments.models.SegmentKind.choices",
        "TriggerOnEnum": "activation.models.On.choices",
        "SourceKindEnum": "events.models.SourceKind.choices",
        "SourceChannelEnum": "events.models.Channel.choices",
        "DestinationKindEnum": "activation.destination_api.KIND_CHOICES",
        "AddressKindEnum": "customers.models.Suppression.Kind",
        "SuppressionReasonEnum": "customers.models.Suppression.Reason",
    },
    "GET_LIB_DOC_EXCLUDES": "cdp.schema.undocumented",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "COMPONENT_SPLIT_REQUEST": True,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO" if DEBUG else "WARNING"},
    "loggers": {
        "cdp": {"level": "INFO"},
        "django.request": {"level": "ERROR"},
        # Whoever scans the internet would fill the log: a stack for each wrong name.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}
