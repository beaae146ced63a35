from collections.abc import Iterator

import pytest
from django.db import connection

from tests.bench.peers.work import CREATE, DROP
from tests.promises.conftest import tally

__all__ = ["tally"]


@pytest.fixture
def work() -> Iterator[None]:
    """The table of work that the peers have."""
    with connection.cursor() as cursor:
        cursor.execute(CREATE)
    yield
    with connection.cursor() as cursor:
        cursor.execute(DROP)
