from django.apps import AppConfig


class DemoConfig(AppConfig):
    name = "cdp.demo"
    label = "demo"
    verbose_name = "Demo"
