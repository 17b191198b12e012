"""The demo: a music retailer's real purchases, a shop with the tag, and a tool that gets messages.

A package of its own on the roof: take it out of INSTALLED_APPS and cdp/urls.py and it is gone.
"""
