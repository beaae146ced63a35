"""One resource a file: parse, ask the shop, answer. What a thing means is in the shop's rooms."""

from django.urls import register_converter
from django.urls.converters import StringConverter


class Rest(StringConverter):
    """All that is left of a path, as `path` takes it, and also with line breaks."""

    regex = "(?s:.+)"


register_converter(Rest, "rest")
