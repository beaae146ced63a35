"""/problems/<slug>: where the `type` of a refusal leads. Pages for people, in their language."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from api.problems.types import TYPES


@require_safe
def every(request: HttpRequest) -> HttpResponse:
    return render(request, "api/problems.html", {"types": TYPES})


@require_safe
def one(request: HttpRequest, slug: str) -> HttpResponse:
    if slug not in TYPES:
        return render(request, "404.html", status=404)
    return render(request, "api/problem.html", {"slug": slug, "problem": TYPES[slug]})
