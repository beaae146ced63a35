"""What every test may use. Tests run on the Postgres and the broker that `bin/test` starts."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client as HttpClient
from redis import Redis

from celery_ledger import testing
from celery_ledger.models import Job
from config import celery_app
from config.embedded.broker import Broker
from orders.clients import ApiKey, Client
from orders.stock import Stock
from tests.edges import Postbox, WebhookSink
from tests.promises.processes import Stack, Tree

_guarded = False


def _refuse_sockets_in_transactions(event: str, args: tuple[Any, ...]) -> None:
    """Invariant I13: no socket is opened while a transaction is open (libpq's own sockets are not Python's)."""
    if _guarded and event == "socket.connect" and connection.in_atomic_block:
        raise AssertionError(f"a socket to {args[1]} was opened inside a transaction")


sys.addaudithook(_refuse_sockets_in_transactions)


@pytest.fixture(autouse=True)
def no_socket_in_a_transaction(request: pytest.FixtureRequest) -> Iterator[None]:
    """On in every test that runs its own transactions; the others are one transaction from end to end."""
    global _guarded
    marker = request.node.get_closest_marker("django_db")
    _guarded = bool(marker and marker.kwargs.get("transaction"))
    yield
    _guarded = False


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """A test that releases limits the role of all tests; a database is made and dropped as fast as the disk can."""
    connection.settings_dict["OPTIONS"]["options"] = "-c statement_timeout=0"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The tests themselves live with the limits."""
    unlimited = connection.settings_dict["OPTIONS"].pop("options")
    with django_db_blocker.unblock():
        connection.close()
    yield
    connection.settings_dict["OPTIONS"]["options"] = unlimited


TEST_BROKER_DB = 9  # so that a worker of `bin/dev` hears nothing of the tests


@pytest.fixture(scope="session", autouse=True)
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Each process of pytest-xdist has a broker of its own, which the tests of the others neither fill nor freeze."""
    own = Broker(tmp_path_factory.mktemp("broker")) if "PYTEST_XDIST_WORKER" in os.environ else None
    if own:
        own.ensure()
    url = (
        urlsplit(own.url if own else settings.BROKER_URL)
        ._replace(path=f"/{TEST_BROKER_DB}")
        .geturl()
    )
    celery_app.conf.broker_url = url
    yield url
    if own:
        own.stop()


@pytest.fixture
def broker(broker_url: str) -> Iterator[Redis]:
    """The broker, emptied."""
    with Redis.from_url(broker_url) as redis:
        redis.flushdb()
        yield redis


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


@pytest.fixture
def api(shop: Client) -> Api:
    return Api(ApiKey.objects.issue(shop, []))


@pytest.fixture
def order_body() -> Callable[..., dict[str, Any]]:
    def body(**changes: Any) -> dict[str, Any]:
        said = {
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
        return {name: value for name, value in {**said, **changes}.items() if value is not ...}

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
        settings.MAILERS = {
            "default": {
                "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
                "OPTIONS": options,
            }
        }
        yield postbox


@pytest.fixture
def stack(
    transactional_db: None, broker: Redis, broker_url: str, tmp_path: Path
) -> Iterator[Stack]:
    """Web and worker processes on this test's database and broker; on failure their last words are shown."""
    database = connection.settings_dict
    environment = {
        "DATABASE_URL": "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}{NO_TIMEOUT}".format(
            NO_TIMEOUT="?options=-c%20idle_in_transaction_session_timeout%3D0",  # or it would unmask every ghost
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
    stack = Stack(environment, tmp_path)
    yield stack
    stack.stop()
    for job in Job.objects.exclude(state="done").values()[:20]:
        print(job)
    for tree in stack.trees:
        print(f"--- {tree.log.name}\n{tree.said()[-3000:]}")


@pytest.fixture
def work_off(db: None) -> Callable[..., int]:
    """Works off the due jobs in this process, the ledger's way, and returns how many attempts it took.

    `work_off(ahead=timedelta(hours=1))` also what is due within the hour. No broker and no worker is needed, and the
    test may be one transaction from end to end.
    """
    return testing.work_off


@pytest.fixture
def worker(stack: Stack) -> Tree:
    """A real worker with its pool, on this test's database and broker; stopped at its end."""
    return stack.start("worker", "--include", "tests.celery_ledger.tasks")
