"""The roof's pages in the admin: customers with all that is known of them, keys, users, work."""

from typing import Any

from django.contrib import admin

from customers.admin import CustomerAdmin, CustomerFieldAdmin
from customers.models import Customer, CustomerField


@admin.register(Customer)
class CustomerPages(CustomerAdmin):
    pass


@admin.register(CustomerField)
class CustomerFieldPages(CustomerFieldAdmin):
    pass
