"""For pytest, with pytest-django: fixtures that any test of a project may ask for. pytest finds
them where the package is installed.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def work_off(db: None) -> Callable[..., int]:
    """Works off the due jobs in the test's own process, through Celery's tracer, and returns how
    many attempts it took.

    `work_off(ahead=timedelta(hours=1))` also what is due within the hour. No broker and no worker
    is needed, and the test may be one transaction from end to end.
    """
    from celery_ledger import testing  # noqa: PLC0415 - needs Django's apps

    return testing.work_off


@pytest.fixture
def ledger_worker(transactional_db: None) -> Iterator[Any]:
    """A worker with its clock, in a thread of the test's process, on the broker of the settings:
    what is promised is done by itself, as with `celery worker`. The test waits for results.
    """
    from celery_ledger import testing  # noqa: PLC0415 - needs Django's apps

    with testing.worker() as worker:
        yield worker
