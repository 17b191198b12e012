"""The OpenAPI description of the API: what its views cannot say themselves."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_standardized_errors import openapi
from rest_framework import serializers


class ErrorDetail(serializers.Serializer):
    code = serializers.CharField(help_text="Stable, for programs.")
    detail = serializers.CharField(help_text="For people: what is wrong and what would be right.")
    attr = serializers.CharField(
        allow_null=True, help_text='The member at fault, such as "fields.age"; null for none.'
    )


class Error(serializers.Serializer):
    """Every answer with a status of 400 and above."""

    type = serializers.ChoiceField(["validation_error", "client_error", "server_error"])
    errors = ErrorDetail(many=True)  # type: ignore[assignment]  # the name is a method's, too


class AutoSchema(openapi.AutoSchema):
    """Knows which errors a view can answer with; all of them have one shape."""

    def _should_add_error_response(self, responses: dict[str, Any], status_code: str) -> bool:
        if status_code in responses:
            return False
        if status_code in ("409", "413", "415"):
            return self.method in ("POST", "PUT", "PATCH", "DELETE")
        return bool(super()._should_add_error_response(responses, status_code))

    def _should_add_validation_error_response(self) -> bool:
        return True


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "cdp.apikeys.ApiKeyAuthentication"
    name = "API key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "`Authorization: Bearer KEY`, made by `manage.py create_api_key NAME`.",
        }
