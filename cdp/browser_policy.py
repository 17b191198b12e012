"""The Content-Security-Policy header: strict, but for what the admin's theme needs."""

from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

from cdp.look import ADMIN_CONTENT_SECURITY_POLICY


class BrowserPolicy(CSPMiddleware):
    """Sends the settings' policy, loosened below /admin/."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: object = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, bool(report_only))
        if request.path.startswith("/admin/"):
            parts.replace = {**ADMIN_CONTENT_SECURITY_POLICY, **(parts.replace or {})}
        return parts
