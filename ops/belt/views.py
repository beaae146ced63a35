"""The belt over HTTP."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ops.access import LOOK, staff_page
from ops.belt import standing

POLL_S = 5  # of the belt, by a browser


@require_safe
@staff_page(LOOK)
def belt(request: HttpRequest) -> HttpResponse:
    """What needs a person, and whether work moves. htmx asks for the part that changes."""
    page = "standing" if request.headers.get("HX-Request") else "page"
    seen = {"belt": standing.now(), "poll_s": POLL_S, "here": "belt"}
    return render(request, f"ops/belt/{page}.html", seen)
