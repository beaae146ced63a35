from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from django.db import connection


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
