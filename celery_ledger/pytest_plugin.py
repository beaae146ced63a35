"""Fixtures for the tests of a project, with pytest and pytest-django. pytest finds them where the
package is installed.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def work_off(db: None) -> Callable[..., int]:
    """A function that makes all due jobs in the test's own process, by Celery's tracer, and returns
    the number of attempts. `work_off(ahead=timedelta(hours=1))` also makes what is due within the
    hour.

    It needs no broker and no worker, and the whole test may be one transaction.
    """
    from celery_ledger import testing  # noqa: PLC0415 - needs Django's apps

    return testing.work_off


@pytest.fixture
def ledger_worker(transactional_db: None) -> Iterator[Any]:
    """A worker with its clock in a thread of the test's process, on the broker of the settings. It
    makes jobs as `celery worker` does, so the test has to wait for their results.
    """
    from celery_ledger import testing  # noqa: PLC0415 - needs Django's apps

    with testing.worker() as worker:
        yield worker
