from contextlib import closing

import pytest
from celery import Task, current_app
from celery.backends.base import KeyValueStoreBackend
from celery.backends.cache import CacheBackend
from celery.backends.redis import RedisBackend

from celery_ledger.models import Job
from tests.machine.debian import program
from tests.machine.ports import free_port, listens
from tests.promises.included import result_backends
from tests.promises.processes import Stack, Tree
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def memcached(stack: Stack) -> str:
    """A real one, on loopback; its URL."""
    port = free_port()
    options = ["-l", "127.0.0.1", "-p", str(port), "-m", "16", "-u", "nobody"]
    command = [program("memcached", package="memcached"), *options]
    stack.trees.append(Tree(command, {}, stack.folder / "memcached.log"))
    until(lambda: listens(port), "memcached listens", within_s=30)
    return f"memcached://127.0.0.1:{port}/"


@pytest.mark.soak
def test_a_task_may_name_redis_for_its_results(
    stack: Stack, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the worker's is the same: its settings name this broker
    ours = RedisBackend(app=current_app, url=broker_url)
    monkeypatch.setattr(result_backends.into_redis, "backend", ours)
    assert b"42" in kept(stack, result_backends.into_redis, ours)


@pytest.mark.soak
def test_a_task_may_name_memcached_for_its_results(
    stack: Stack, memcached: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = CacheBackend(app=current_app, url=memcached)
    monkeypatch.setattr(result_backends.into_memcached, "backend", ours)
    with closing(ours.client):
        assert b"42" in kept(stack, result_backends.into_memcached, ours, MEMCACHED_URL=memcached)


def kept(stack: Stack, task: Task, ours: KeyValueStoreBackend, **environment: str) -> bytes:
    """What lies in the store when a worker has doubled 21."""
    stack.start("worker", "--include", "tests.promises.included.result_backends", **environment)
    result = task.delay(21)
    assert result.backend is ours
    assert result.get(timeout=30) == 42
    assert (Job.objects.get().state, Job.objects.get().result) == ("done", 42)
    return bytes(ours.get(ours.get_key_for_task(result.id)))
