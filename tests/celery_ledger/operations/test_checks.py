from typing import Any

import pytest
from celery import Celery
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from celery_ledger.celery.installation import celery_options
from celery_ledger.checks import check_installation, check_settings, check_tasks, objections
from celery_ledger.tasks import call_errback
from tests.celery_ledger import tasks


def test_the_tasks_of_the_ledger_and_of_its_project_are_in_order() -> None:
    assert check_tasks(None) == check_settings(None) == []


def test_a_task_of_the_ledger_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_errback, "time_limit", 31)
    [error] = check_tasks(None)
    assert error.obj == "celery_ledger.tasks.call_errback"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"time_limit": None}, "It needs a soft_time_limit and a time_limit"),
        ({"soft_time_limit": None}, "It needs a soft_time_limit and a time_limit"),
        ({"soft_time_limit": 25, "time_limit": 25}, "must be less than its time_limit"),
        ({"time_limit": 31}, "every deploy would kill it"),
        ({"acks_late": True}, "acks_late has no meaning here"),
        ({"key": "order:{nobody}"}, "Its key names nobody"),
        (
            {"retry_backoff": True, "retry_jitter": True},
            "sets retry_backoff, retry_jitter without autoretry_for",
        ),
        ({"serializer": "pickle"}, "a row holds JSON"),
        (
            {"queue": "nowhere"},
            "Its queue is nowhere, to which no worker listens; there are bulk, kaiten",
        ),
        ({"rate_limit": "many"}, "Its rate_limit cannot be kept: 'many' is no rate"),
        ({"rate_limit": "-1/s"}, "lets no job begin, ever"),
    ],
)
def test_a_bad_combination_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], sentence: str
) -> None:
    assert objections(tasks.add) == []
    for name, value in options.items():
        monkeypatch.setattr(tasks.add, name, value, raising=False)
    [found] = objections(tasks.add)
    assert sentence in found


def test_a_misspelt_option_is_said_by_name() -> None:
    app = Celery(task_cls="celery_ledger.celery.task:LedgerTask", set_as_current=False)
    task = app.task(
        atomik=False, retry_backof=True, max_retries=3, soft_time_limit=1, time_limit=2
    )(tasks.add.run)
    [found] = objections(task)
    assert found == "It sets atomik, retry_backof, which is no option of a task."


@pytest.mark.django_db
def test_numbers_that_contradict_each_other_stop_a_release(settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "WORKER_SILENCE_S": 2}
    with pytest.raises(SystemCheckError, match="a busy worker is lost"):
        call_command("check")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER_SILENCE_S", 2),
        ("RING_CAP_S", 1),
        ("LEASE_GRACE_S", 0),
        ("DRAIN_S", 26),
        ("WEIGHTS", {"a": 0}),
        ("WEIGHTS", {"a": 101}),
    ],
)
def test_a_number_that_breaks_a_promise_is_said_by_name(
    settings: Any, name: str, value: int
) -> None:
    settings.LEDGER = {**settings.LEDGER, name: value}
    [error] = check_settings(None)
    assert error.msg.startswith(name)


def test_a_number_that_is_none_of_the_ledgers_is_said_by_name(settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "BATCHH": 5}
    [error] = check_settings(None)
    assert error.msg == "LEDGER names BATCHH, which is no number of the ledger."


def test_an_app_without_the_ledger_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_installation(None) == []
    plain = Celery("plain", set_as_current=False)
    monkeypatch.setattr("celery_ledger.checks.current_app", plain)
    found = [error.msg for error in check_installation(None)]
    for part in celery_options():
        assert any(f"the ledger's {part}: Celery(" in sentence for sentence in found), part
    assert any("Its workers have no clock: call install(app)" in sentence for sentence in found)
    half = Celery("half", set_as_current=False, **celery_options())
    monkeypatch.setattr("celery_ledger.checks.current_app", half)
    [error] = check_installation(None)
    assert "call install(app)" in error.msg
