"""Every URL of the product on one screen."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from cdp import api, health, home, navigation
from customers.consent import pages as consent_pages

staff = admin.site.admin_view

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/home/progress/", staff(home.progress), name="home_progress"),
    path("admin/home/checklist/", staff(home.dismiss_checklist), name="home_checklist"),
    path("admin/search/", staff(navigation.search_page)),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("", include("events.urls")),
    path("unsubscribe/<str:token>/", consent_pages.unsubscribe, name="unsubscribe"),
    path("demo/", include("cdp.demo.urls")),
    path("api/schema/", api.SchemaView.as_view(), name="schema"),
    path("api/docs/", api.DocsView.as_view(), name="docs"),
    path("api/imports/<int:pk>/errors.csv", api.errors_of_import),
    path("api/identity-rules/", api.identity_rules),
    path("api/", include(api.router.urls)),
    re_path(r"^api/", api.NowhereView.as_view()),
]
