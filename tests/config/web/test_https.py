"""What came to the router over plain http: a browser is sent to https, a program told, a health
check answered.
"""

from typing import Any

import pytest
from django.test import Client as HttpClient

from orders.models import Order
from tests.shop import Api

PLAIN = {"X-Forwarded-Proto": "http"}


@pytest.fixture(autouse=True)
def https_only(settings: Any) -> None:
    settings.HTTPS_ONLY = True


def test_a_browser_is_sent_to_https_with_its_whole_address(client: HttpClient) -> None:
    for method in (client.get, client.head):
        response = method("/admin/?next=/ops/", headers=PLAIN)
        assert (response.status_code, response["Location"]) == (
            301,
            "https://testserver/admin/?next=/ops/",
        )
    assert client.get("/admin/", headers={**PLAIN, "Host": "evil example"}).status_code == 400


@pytest.mark.django_db
def test_a_key_over_plain_http_is_refused_and_not_redirected(
    api: Api, stock: Any, order_body: Any
) -> None:
    stock()
    headers = {**PLAIN, "Idempotency-Key": "k"}
    posted = api.post("/v1/orders", order_body(), content_type="application/json", headers=headers)
    for response in (
        posted,
        api.get("/v1/orders", headers=PLAIN),
        api.get("/metrics", headers=PLAIN),
    ):
        assert (response.status_code, response["Content-Type"]) == (403, "application/problem+json")
        assert response.json()["type"] == "/problems/https-required"
        assert "Location" not in response
    assert not Order.objects.exists()


def test_a_form_over_plain_http_is_refused(client: HttpClient) -> None:
    assert client.post("/", {"name": "hana"}, headers=PLAIN).status_code == 403


@pytest.mark.django_db
def test_health_checks_and_whoever_comes_past_the_router_are_answered(client: HttpClient) -> None:
    assert {client.get(path, headers=PLAIN).status_code for path in ("/livez", "/readyz")} == {200}
    for headers in ({}, {"X-Forwarded-Proto": "https"}, {"X-Forwarded-Proto": "https, http"}):
        assert client.get("/problems/", headers=headers).status_code == 200


@pytest.mark.django_db
def test_a_site_without_tls_can_say_so(client: HttpClient, settings: Any) -> None:
    settings.HTTPS_ONLY = False
    assert client.get("/problems/", headers=PLAIN).status_code == 200
