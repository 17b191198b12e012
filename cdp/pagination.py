"""Pages of the API: by cursor, so that page 10,000 costs what page 1 does."""

from rest_framework import pagination


class CursorPagination(pagination.CursorPagination):
    ordering = "-id"
    page_size_query_param = "page_size"
    max_page_size = 1_000
