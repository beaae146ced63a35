"""What tests of the shop may use: a client and its key, stock, orders, whoever is told, and real
processes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client as HttpClient
from redis import Redis

from celery_ledger.models import Job
from config.start.environment import MAILER
from orders.models import ApiKey, Client, Stock
from tests.doubles.edges import Postbox, WebhookSink
from tests.promises.processes import Stack, Tree, Web


@pytest.fixture
def shop(db: None) -> Client:
    return Client.objects.create(name="shop")


@pytest.fixture
def stock(db: None) -> Callable[..., Stock]:
    def count(sku: str = "SAKE-NIGIRI", on_hand: int = 100, name: str = "鮭") -> Stock:
        return Stock.objects.set_on_hand(sku, on_hand, name=name)

    return count


class Api(HttpClient):
    """An HTTP client that speaks JSON with an API key."""

    def __init__(self, key: str) -> None:
        super().__init__(headers={"Authorization": f"Bearer {key}"})

    def place(self, body: Any, key: str = "key-1") -> Any:
        return self.post(
            "/v1/orders", body, content_type="application/json", headers={"Idempotency-Key": key}
        )


def post(api: Api, path: str, body: Any = None, key: str | None = None) -> Any:
    headers = {"Idempotency-Key": key or str(uuid4())}
    return api.post(path, body or {}, content_type="application/json", headers=headers)


@pytest.fixture
def api(shop: Client) -> Api:
    return Api(ApiKey.objects.issue(shop, []))


@pytest.fixture
def order_body() -> Callable[..., dict[str, Any]]:
    def body(**changes: Any) -> dict[str, Any]:
        fields = {
            "external_id": "shop-1042",
            "currency": "JPY",
            "email": "hana@example.com",
            "locale": "ja",
            "lines": [
                {"sku": "SAKE-NIGIRI", "name": "鮭", "quantity": 2, "unit_price": 300, "tax": 60}
            ],
            "shipping": {"amount": 0, "tax": 0},
            "total": 660,
            "payment": {"token": "tok_ok"},
            "metadata": {"table": "7"},
        }
        return {name: value for name, value in {**fields, **changes}.items() if value is not ...}

    return body


@pytest.fixture
def sink() -> Iterator[WebhookSink]:
    with WebhookSink() as sink:
        yield sink


@pytest.fixture
def postbox(settings: Any) -> Iterator[Postbox]:
    """The mail server of this process; other processes reach it by its port."""
    with Postbox() as postbox:
        options = {"host": "127.0.0.1", "port": postbox.port, "timeout": 5}
        settings.MAILERS = {"default": {"BACKEND": MAILER, "OPTIONS": options}}
        yield postbox


def environment_on(broker_url: str) -> dict[str, str]:
    """Of processes on the database of the tests, and on this broker."""
    database = connection.settings_dict
    return {
        "DATABASE_URL": "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}{NO_TIMEOUT}".format(
            # or it would unmask every ghost
            NO_TIMEOUT="?options=-c%20idle_in_transaction_session_timeout%3D0",
            **{
                name: quote(str(database[name]), safe="")
                for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")
            },
        ),
        "REDIS_URL": broker_url,
        "DEBUG": "1",
        "EMAIL_URL": "dummymail://",
        "DJANGO_SETTINGS_MODULE": "tests.promises.settings",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="module")
def web(
    django_db_setup: None, broker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    """One web process for all tests of a module that leave it as it was."""
    stack = Stack(environment_on(broker_url), tmp_path_factory.mktemp("web"))
    yield stack.start_web()
    stack.stop()


@pytest.fixture
def stack(
    transactional_db: None, broker: Redis, broker_url: str, tmp_path: Path
) -> Iterator[Stack]:
    """Web and worker processes on this test's database and broker; on failure their last words are
    shown.
    """
    stack = Stack(environment_on(broker_url), tmp_path)
    yield stack
    stack.stop()
    for job in Job.objects.exclude(state="done").values()[:20]:
        print(job)
    stack.print_last_words()


@pytest.fixture
def worker(stack: Stack) -> Tree:
    """A real worker with its pool, on this test's database and broker; stopped at its end."""
    return stack.start("worker", "--include", "tests.celery_ledger.tasks")
