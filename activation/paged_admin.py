"""What the admin pages of triggers and destinations share."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from customers.adminkit import (
    ProductAdmin,
)


class PagedAdmin(ProductAdmin):
    """A model whose rows have pages of ours instead of the stock form."""

    def may(self, request: HttpRequest, row: Any) -> dict[str, bool]:
        """What the user may do with a row, for the templates."""
        return {
            "may_change": self.has_change_permission(request, row),
            "may_delete": self.has_delete_permission(request, row),
        }

    def found(self, request: HttpRequest, pk: object, *, to: str = "view") -> Any:
        """Find a row that the user may view, change or delete. Raises PermissionDenied, Http404."""
        if not str(pk).isdecimal():
            raise Http404
        row = get_object_or_404(self.get_queryset(request), pk=pk)
        if not getattr(self, f"has_{to}_permission")(request, row):
            raise PermissionDenied
        return row
