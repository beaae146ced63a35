"""A program sees the same as with Celery's Redis backend."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from celery import current_app as celery_app

from celery_ledger.testing import work_off
from tests.celery_ledger.celery.plain_celery import PlainCelery, plain_celery
from tests.celery_ledger.celery.programs.programs import PROGRAMS, TASKS, define_tasks, outcome

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def plain(broker_url: str) -> Iterator[PlainCelery]:
    with plain_celery("tests.celery_ledger.celery.programs.plain", broker_url) as plain:
        yield plain


@pytest.fixture(scope="module", autouse=True)
def _tasks() -> Iterator[None]:
    define_tasks(celery_app)
    yield
    for name in [name for name in celery_app.tasks if name.startswith(TASKS)]:
        celery_app.tasks.unregister(name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_comes_to_what_it_comes_to_in_plain_celery(name: str, plain: PlainCelery) -> None:
    soon = partial(work_off, ahead=timedelta(seconds=5))
    assert outcome(celery_app, name, soon) == plain.outcome(name)
