from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection
from redis import Redis

from jobs.models import Job
from tests.promises.processes import Stack


@pytest.fixture
def stack(transactional_db: None, broker: Redis, broker_url: str, tmp_path: Path) -> Iterator[Stack]:
    """Web and worker processes on this test's database and broker; on failure their last words are shown."""
    database = connection.settings_dict
    environment = {
        "DATABASE_URL": "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}{NO_TIMEOUT}".format(
            NO_TIMEOUT="?options=-c%20idle_in_transaction_session_timeout%3D0",  # or it would unmask every ghost
            **{name: quote(str(database[name]), safe="") for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")},
        ),
        "REDIS_URL": broker_url,
        "DEBUG": "1",
        "EMAIL_URL": "dummymail://",
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
def tally() -> Iterator[Callable[[], Counter[int]]]:
    """How often each number was counted by the tasks that nothing but the ledger protects."""

    def counted() -> Counter[int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT number FROM tally")
            return Counter(number for (number,) in cursor.fetchall())

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE tally (number int)")
    yield counted
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE tally")
