"""The two documents, open to everybody and the same for everybody: no key, no session, no cookie,
no secret in them.
"""

import json
from functools import cache

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import get_language, override
from django.views.decorators.http import require_safe
from ninja.responses import NinjaJSONEncoder

from api.app import api
from api.docs.kept import Kept
from api.docs.seen import seen


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """In `?language=`, or else in the reader's. Raises Http404 for a language that there is not."""
    language = request.GET.get("language", get_language() or settings.LANGUAGE_CODE)
    if language not in dict(settings.LANGUAGES):
        raise Http404
    return _page(language).answered(request, "text/html; charset=utf-8")


@require_safe
def document(request: HttpRequest) -> HttpResponse:
    return _document().answered(request, "application/json; charset=utf-8")


@cache
def _page(language: str) -> Kept:
    """Drawn without a request: nothing of whoever asks first can stand in it."""
    with override(language):
        return Kept(render_to_string("api/docs.html", seen()))


@cache
def _document() -> Kept:
    schema = api.get_openapi_schema()
    return Kept(json.dumps(schema, cls=NinjaJSONEncoder, ensure_ascii=False))
