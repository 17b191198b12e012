"""The filters of `customers.formats`, for templates."""

from django import template

from customers import formats

register = template.Library()

register.filter("number", formats.number)
register.filter("money", formats.money)
register.filter("day", formats.day)
register.filter("moment", formats.moment)
register.filter("clock", formats.clock)
register.filter("day_name", formats.day_name)
register.filter("ago", formats.ago)
register.filter("size", formats.size)
register.filter("initials", formats.initials)
