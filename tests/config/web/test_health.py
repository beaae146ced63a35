from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client as HttpClient

from config.web import health
from orders.models import Order

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_seen_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """/readyz looks once a second only."""
    monkeypatch.setattr(health, "_looked_at", float("-inf"))


def test_livez_asks_nobody_and_readyz_asks_both(
    client: HttpClient, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "database": "ok", "broker": "ok"}
    assert (client.post("/livez").status_code, client.delete("/readyz").status_code) == (405, 405)


def test_a_platform_may_ask_by_the_dynos_own_address(client: HttpClient, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["shop.example.com"]
    statuses = [
        client.get(path, headers={"Host": "10.1.2.3:8000"}).status_code
        for path in ("/livez", "/readyz", "/")
    ]
    assert statuses == [200, 200, 400]


def test_readyz_is_503_without_postgres(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("django.db.connection.cursor", refuse)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["database"]) == (503, "down")


def test_a_page_that_cannot_ask_postgres_says_when_to_come_back(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(Order.objects, "filter", refuse)
    response = client.get("/o/some-token/")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert b"connection refused" not in response.content


def test_so_does_one_whose_visitor_cannot_be_looked_up(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after any view, where Django asks no middleware what to make of it."""

    def refuse(*_: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(
        "django.contrib.messages.middleware.MessageMiddleware.process_response", refuse
    )
    client.raise_request_exception = False
    response = client.get("/o/some-token/")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
