"""No body runs without a claim, whatever the class of its task: Celery's own, one from
`celery.contrib`, one that overrides what a guard could stand in.
"""

from typing import Any

import pytest
from celery import Task
from celery import current_app as celery_app
from celery.app.trace import trace_task
from celery.contrib.abortable import AbortableTask
from django.contrib.auth.models import Group as Note

from celery_ledger.celery.task import LedgerTask
from celery_ledger.checks import objections
from celery_ledger.models import Job
from celery_ledger.testing import work_off

pytestmark = pytest.mark.django_db(transaction=True)
LIMITS = {"soft_time_limit": 5, "time_limit": 10}


class OfCelery(Task):  # type: ignore[misc]
    """A task class as in Celery's documentation, which keeps a connection."""


class CallsRun(Task):  # type: ignore[misc]
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)


class CallsNobody(Task):  # type: ignore[misc]
    def __call__(self, name: str) -> str:
        Note.objects.create(name=name)
        return f"called {name}"


class CallsItsParent(Task):  # type: ignore[misc]
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


class OfTheLedger(LedgerTask):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


def _body(self: Task, name: str) -> str:
    Note.objects.create(name=name)
    return f"{name} of {self.request.id}"


def by_decorator(base: type[Task]) -> Task:
    return celery_app.task(
        bind=True, base=base, name=f"of {base.__name__}", shared=False, **LIMITS
    )(_body)


def by_hand(base: type[Task]) -> Task:
    own = type("Own", (base,), {"name": f"own {base.__name__}", "run": _body, **LIMITS})
    return celery_app.register_task(own())


@pytest.fixture(
    params=[OfCelery, AbortableTask, CallsRun, CallsItsParent, OfTheLedger],
    ids=lambda base: base.__name__,
)
def base(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[by_decorator, by_hand])
def task(request: pytest.FixtureRequest, base: type[Task]) -> Any:
    made = request.param(base)
    yield made
    celery_app.tasks.unregister(made)


def ring(task: Task, id_: str) -> None:
    trace_task(task, id_, (), {}, request={"id": id_, "delivery_info": {}}, app=celery_app)


def test_a_task_of_any_class_is_done_once_and_its_body_has_the_request(task: Task) -> None:
    promised = task.delay("a")
    assert work_off() == 1
    ring(task, promised.id)
    job = Job.objects.get()
    assert (job.state, job.attempts, job.result) == ("done", 1, f"a of {promised.id}")
    assert Note.objects.count() == 1


def test_a_body_is_not_run_for_a_job_that_is_not_there(task: Task) -> None:
    promised = task.delay("a")
    Job.objects.all().delete()
    ring(task, promised.id)
    assert not Note.objects.exists()


def test_the_ledgers_options_are_those_of_any_class(base: type[Task]) -> None:
    options = {"key": "once:{name}", "shared": False, **LIMITS}
    task = celery_app.task(bind=True, base=base, name="keyed", **options)(_body)
    assert task.delay("a").id == task.delay("a").id
    celery_app.tasks.unregister(task)


def test_what_a_class_has_of_its_own_is_no_misspelt_option(base: type[Task]) -> None:
    task = by_hand(type("WithMore", (base,), {"connection_of_mine": None}))
    assert objections(task) == []
    celery_app.tasks.unregister(task)


def test_a_call_that_reaches_nothing_of_celery_is_the_body() -> None:
    task = by_decorator(CallsNobody)
    task.delay("a")
    work_off()
    assert (Job.objects.get().result, Note.objects.get().name) == ("called a", "a")
    assert task("b") == "called b"
    assert Job.objects.count() == 1
    celery_app.tasks.unregister(task)


def test_a_task_called_as_a_function_runs_its_body_here_and_now(task: Task) -> None:
    assert task("a") == "a of None"
    assert (Note.objects.count(), Job.objects.count()) == (1, 0)
