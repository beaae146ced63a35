"""The bell on a broker in trouble: it never raises, and leaves the broker alone for a while."""

import socket
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from celery import current_app as celery_app
from redis import Redis

from celery_ledger.conf import ledger_settings
from celery_ledger.publishing.bell import PROBE, Bell, Ring
from tests.machine.own_broker import OwnBroker

RING = [Ring("0198c2de-0000-7000-8000-000000000000", "tests.celery_ledger.tasks.add", "kaiten")]


class App:
    """A stand-in for the app, with another broker."""

    def __init__(self, url: str) -> None:
        self.amqp = celery_app.amqp
        self.conf = Mock(
            broker_url=url or celery_app.conf.broker_url,
            broker_transport_options={},
            task_default_queue="kaiten",
        )
        self.url = url
        self.connections = 0

    def connection_for_write(self, **options: Any) -> Any:
        self.connections += 1
        return celery_app.connection_for_write(self.url, **options)


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.fixture
def full(broker: Redis) -> Iterator[str]:
    """A Redis that refuses writes. Its maxmemory is for the whole server, so it is set for one test
    only.
    """
    before = broker.config_get("maxmemory")["maxmemory"]
    assert before is not None
    broker.config_set("maxmemory", "1")
    yield ""
    broker.config_set("maxmemory", before)


def test_a_bell_that_nobody_takes_is_reported_and_the_broker_rests(black_hole: str) -> None:
    app = App(black_hole)
    bell = Bell(app)
    assert bell.ring(RING) is False
    assert bell.resting
    assert (bell.ring(RING), bell.queued("kaiten")) == (False, None)
    assert app.connections == 1  # while it rests nobody tries


def test_a_refused_connection_is_no_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    bell = Bell(App(f"redis://127.0.0.1:{port}/0"))
    assert bell.ring(RING) is False


def test_a_full_broker_is_no_error(full: str, broker_url: str) -> None:
    assert Bell(App(broker_url)).ring(RING) is False


def test_an_idle_broker_that_is_full_does_not_answer_until_there_is_room(
    full: str, broker: Redis, broker_url: str
) -> None:
    """No bell was refused before, and a full Redis still answers queries."""
    bell = Bell(App(broker_url))
    for _ in range(2):
        assert (bell.queued("kaiten"), bell.answers()) == (0, False)
        bell._resting_until = 0.0
    broker.config_set("maxmemory", "64mb")
    assert bell.answers()
    assert 0 < broker.ttl(PROBE) <= ledger_settings.BELL_PROBE_KEEP_S
    assert broker.keys() == [PROBE.encode()]


def test_a_broker_that_died_since_it_answered_does_not_answer() -> None:
    with OwnBroker() as server:
        bell = Bell(App(server.url))
        assert bell.answers()
    assert not bell.answers()


def test_after_its_rest_the_broker_is_tried_again(
    broker: Redis, broker_url: str, black_hole: str
) -> None:
    app = App(black_hole)
    bell = Bell(app)
    assert bell.ring(RING) is False
    assert not bell.answers()
    app.url = broker_url
    bell._resting_until = 0.0
    assert bell.answers()
    assert bell.ring(RING) is True
    assert broker.llen("kaiten") == 1
