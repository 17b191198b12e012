"""Names that others give to the events we know: Google Analytics 4, and Segment's first spec."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Preset(NamedTuple):
    """Event names and property paths of others, with ours. `label` is for people."""

    label: str
    events: Mapping[str, str]
    properties: Mapping[str, str]
    products: Mapping[str, str]  # properties of each product


GA4: Final = "ga4"
FIRST_SPEC: Final = "ecommerce_v1"
# Of GA4, names that only count with GA4's own parameters beside them: others use the words too.
_SHOP: Final = {
    "purchase": "Order Completed",
    "refund": "Order Refunded",
    "add_to_cart": "Product Added",
    "remove_from_cart": "Product Removed",
    "add_to_wishlist": "Product Added to Wishlist",
    "view_item": "Product Viewed",
    "view_item_list": "Product List Viewed",
    "select_item": "Product Clicked",
    "view_cart": "Cart Viewed",
    "begin_checkout": "Checkout Started",
    "add_payment_info": "Payment Info Entered",
    "view_promotion": "Promotion Viewed",
    "select_promotion": "Promotion Clicked",
}
SIGNS: Final = ("items", "transaction_id")  # one of which such an event of GA4 has
PRESETS: Final = {
    GA4: Preset(
        "Google Analytics 4",
        _SHOP,
        {"transaction_id": "order_id", "items": "products"},
        {
            "item_id": "product_id",
            "item_name": "name",
            "item_category": "category",
            "item_brand": "brand",
            "item_variant": "variant",
            "index": "position",
        },
    ),
    FIRST_SPEC: Preset(
        "Segment's first e-commerce names",
        {
            "Completed Order": "Order Completed",
            "Refunded Order": "Order Refunded",
            "Cancelled Order": "Order Cancelled",
            "Updated Order": "Order Updated",
            "Viewed Product": "Product Viewed",
            "Viewed Product Category": "Product List Viewed",
            "Clicked Product": "Product Clicked",
            "Added Product": "Product Added",
            "Removed Product": "Product Removed",
            "Viewed Cart": "Cart Viewed",
            "Started Checkout": "Checkout Started",
            "Viewed Checkout Step": "Checkout Step Viewed",
            "Completed Checkout Step": "Checkout Step Completed",
            "Searched Products": "Products Searched",
            "Viewed Promotion": "Promotion Viewed",
            "Clicked Promotion": "Promotion Clicked",
        },
        {},
        {},
    ),
}
EVERY: Final = tuple(PRESETS)
