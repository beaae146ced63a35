"""The demo shop and the customer's status page."""

from django.http import HttpRequest, HttpResponse


def shop(request: HttpRequest) -> HttpResponse:
    return HttpResponse("soon")


def status_page(request: HttpRequest, token: str) -> HttpResponse:
    return HttpResponse("soon")
