"""The API's resources, and what of them needs more than one floor."""

from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView
from rest_framework import exceptions, permissions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import Route, SimpleRouter
from rest_framework.views import APIView

from customers.api import CustomerFieldViewSet, CustomerViewSet


class Router(SimpleRouter):
    """Lists also take PUT: many at once."""

    routes = [
        route._replace(mapping=route.mapping | {"put": "upsert"})
        if isinstance(route, Route) and "post" in route.mapping
        else route
        for route in SimpleRouter.routes
    ]


router = Router()
router.register("customer-fields", CustomerFieldViewSet, basename="customer-field")
router.register("customers", CustomerViewSet, basename="customer")


class SchemaView(SpectacularAPIView):
    """The OpenAPI description, open to all; JSON unless YAML is asked for."""

    renderer_classes = [
        OpenApiJsonRenderer2,
        OpenApiJsonRenderer,
        OpenApiYamlRenderer,
        OpenApiYamlRenderer2,
    ]
    throttle_classes = ()

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(_schema())


@cache
def _schema() -> Any:
    """Describe the API: a quarter of a second, and the same for everyone."""
    return SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]


class NowhereView(APIView):
    """Every other address under /api/, so that programs get an answer they can read."""

    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)
    throttle_classes = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        hint = "" if request.path.endswith("/") else " Every path ends in a slash."
        raise exceptions.NotFound(f"There is nothing here.{hint} See /api/docs/.")
