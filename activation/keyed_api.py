"""What the API of triggers and destinations shares."""

from typing import Any

from django.http import Http404
from rest_framework import viewsets

KEY_OR_ID = "[-a-zA-Z0-9_]+"


class KeyedViewSet(viewsets.ModelViewSet):
    """Things that have a key; the id will do as well in their address."""

    resource = "activation"
    also_reads: tuple[str, ...] = ()
    lookup_field = "key"
    lookup_value_regex = KEY_OR_ID
    page_order = ("key",)

    def get_object(self) -> Any:
        wanted = self.kwargs["key"]
        rows = self.get_queryset()
        found = rows.filter(key=wanted).first()
        if found is None and wanted.isdigit():
            found = rows.filter(pk=int(wanted[:18])).first()
        if found is None:
            raise Http404
        self.check_object_permissions(self.request, found)
        return found
