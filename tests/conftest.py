"""What every test may use; `tests/shop.py` has what those of the shop use.

Tests run on the Postgres and the broker that `bin/test` starts."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import current_app
from django.conf import settings
from django.db import connection
from redis import Redis

from tests.hands import Hand
from tests.own_broker import OwnBroker

pytest_plugins = ["celery_ledger.pytest_plugin"]
if "orders" in settings.INSTALLED_APPS:
    pytest_plugins += ["tests.shop", "tests.past_days"]
_guarded = False


def _refuse_sockets_in_transactions(event: str, args: tuple[Any, ...]) -> None:
    """Invariant I13: no socket is opened while a transaction is open (libpq's own sockets are not
    Python's).
    """
    if _guarded and event == "socket.connect" and connection.in_atomic_block:
        raise AssertionError(f"a socket to {args[1]} was opened inside a transaction")


sys.addaudithook(_refuse_sockets_in_transactions)


@pytest.fixture(autouse=True)
def no_socket_in_a_transaction(request: pytest.FixtureRequest) -> Iterator[None]:
    """On in every test that runs its own transactions; the others are one transaction from end to
    end.
    """
    global _guarded
    marker = request.node.get_closest_marker("django_db")
    _guarded = bool(marker and marker.kwargs.get("transaction"))
    yield
    _guarded = False


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """A test that releases limits the role of all tests; a database is made and dropped as fast as
    the disk can.
    """
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
def broker_url() -> Iterator[str]:
    """Each process of pytest-xdist has a broker of its own, which the tests of the others neither
    fill nor freeze.
    """
    with ExitStack() as held:
        shared: str = settings.BROKER_URL
        is_one_of_many = "PYTEST_XDIST_WORKER" in os.environ
        url = held.enter_context(OwnBroker()).url if is_one_of_many else shared
        current_app.conf.broker_url = urlsplit(url)._replace(path=f"/{TEST_BROKER_DB}").geturl()
        yield current_app.conf.broker_url


@pytest.fixture
def broker(broker_url: str) -> Iterator[Redis]:
    """The broker, emptied."""
    with Redis.from_url(broker_url) as redis:
        redis.flushdb()
        yield redis


@pytest.fixture
def one() -> Iterator[Hand]:
    with Hand() as hand:
        yield hand


@pytest.fixture
def two() -> Iterator[Hand]:
    with Hand() as hand:
        yield hand
