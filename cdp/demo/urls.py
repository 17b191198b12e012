"""The demo's pages."""

from django.urls import path

from cdp.demo import email_tool, shop

app_name = "demo"
urlpatterns = [
    path("shop/", shop.page, name="shop"),
    path("shop/me/", shop.me, name="me"),
    path("shop/<slug:sku>/", shop.page, name="record"),
    path("email-tool/", email_tool.inbox, name="email-tool"),
    path("email-tool/messages/", email_tool.messages, name="messages"),
]
