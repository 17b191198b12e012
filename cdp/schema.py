"""The OpenAPI description of the API: what its views cannot say themselves."""

from typing import Any, Literal

from drf_spectacular import openapi
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.plumbing import get_lib_doc_excludes

from customers import apikit

_ALWAYS = ("401", "403", "406", "429", "503")
_ERROR = {"$ref": "#/components/responses/Error"}
_ERROR_SCHEMA = {
    "type": "object",
    "description": "Every answer with a status of 400 and above.",
    "required": ["type", "errors"],
    "properties": {
        "type": {
            "type": "string",
            "enum": ["validation_error", "client_error", "server_error"],
        },
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "detail", "attr"],
                "properties": {
                    "code": {"type": "string", "description": "Stable, for programs."},
                    "detail": {
                        "type": "string",
                        "description": "For people: what is wrong and what would be right.",
                    },
                    "attr": {
                        "type": ["string", "null"],
                        "description": "The member at fault, such as `fields.age`.",
                    },
                },
            },
        },
    },
}

_USUAL = {
    "list": "List",
    "create": "Create one",
    "retrieve": "Read one",
    "update": "Replace one",
    "partial_update": "Change one",
    "destroy": "Delete one",
}


class AutoSchema(openapi.AutoSchema):
    """Knows which errors a view can answer with; all of them have one shape."""

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> Any:
        responses = super()._get_response_bodies(direction)
        if direction == "response":
            responses = dict.fromkeys(self._error_statuses(), _ERROR) | responses
        return dict(sorted(responses.items()))

    def get_summary(self) -> str:
        """What stands beside the address in the list of all: a view's own words, or the usual."""
        name = getattr(self.view, "action", None) or str(self.method).lower()
        said = getattr(getattr(self.view, name, None), "__doc__", None)
        return said.strip().splitlines()[0].rstrip(".") if said else _USUAL.get(name, "")

    def _error_statuses(self) -> list[str]:
        statuses = [*_ALWAYS]
        names = {parameter["in"] for parameter in self._get_parameters()}
        if "path" in names:
            statuses.append("404")
        if "query" in names:
            statuses.append("400")
        if self.method != "GET":
            statuses += ["400", "409", "413", "415"]
        return statuses


def add_errors(result: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Describe the one shape of errors (a hook of drf-spectacular)."""
    components = result["components"]
    components["schemas"]["Error"] = _ERROR_SCHEMA
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    components["responses"] = {"Error": {"description": "What is wrong.", "content": content}}
    return result


def undocumented() -> list[Any]:
    """Classes whose docstrings are for us, not for those who call the API."""
    return [
        *get_lib_doc_excludes(),  # type: ignore[no-untyped-call]
        apikit.StrictSerializer,
        apikit.StrictModelSerializer,
    ]


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "cdp.apikeys.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "`Authorization: Bearer KEY`, made by `manage.py create_api_key NAME`.",
        }
