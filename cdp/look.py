"""How the admin looks and what a browser may do in it: settings, nothing else.

Whatever needs the database or the URLs is named here by its dotted path.
"""

from typing import Any

from csp.constants import NONCE, NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.http import HttpRequest
from django.templatetags.static import static

FORMAT_MODULE_PATH = ["cdp.formats"]


def icon(request: HttpRequest) -> str:
    return static("cdp/icon.svg")


def stylesheet(request: HttpRequest) -> str:
    return static("cdp/cdp.css")


def script(request: HttpRequest) -> str:
    return static("cdp/admin.js")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "CDP",
    "SITE_HEADER": "CDP",
    "SITE_SUBHEADER": "Customer data platform",
    "SITE_URL": None,
    "SITE_ICON": icon,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": icon}],
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": False,
    "SHOW_BACK_BUTTON": False,
    "STYLES": [stylesheet],
    "SCRIPTS": [script],
    "ENVIRONMENT": "cdp.navigation.environment",
    "DASHBOARD_CALLBACK": "cdp.home.context",
    "BORDER_RADIUS": "8px",
    "COMMAND": {"search_callback": "cdp.navigation.search"},
    "TABS": "cdp.navigation.tabs",
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": "cdp.navigation.groups",
    },
    "COLORS": {
        # 500 is what unfold writes with on dark: as light as it must be to be read there.
        "primary": {
            "50": "oklch(97% .014 262)",
            "100": "oklch(93.6% .032 262)",
            "200": "oklch(88.2% .059 262)",
            "300": "oklch(80.9% .105 262)",
            "400": "oklch(74% .14 262)",
            "500": "oklch(70.7% .15 262)",
            "600": "oklch(50.5% .21 264)",
            "700": "oklch(44.5% .2 265)",
            "800": "oklch(39.5% .17 266)",
            "900": "oklch(35% .13 267)",
            "950": "oklch(27% .09 268)",
        },
    },
}

# The few rules of style that stand in the page of the API's documentation, which is Swagger's.
_SWAGGER_STYLE = "'sha256-MMpT0iDxyjALd9PdfepImGX3DBfJPXZ4IlDWdPAgtn0='"

# Strict wherever the product answers a browser outside the admin.
CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE, _SWAGGER_STYLE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
# The theme's Alpine evaluates its attributes and sets styles; nothing else is loosened.
ADMIN_CONTENT_SECURITY_POLICY: dict[str, list[str]] = {
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
}
