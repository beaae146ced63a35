"""Jobs of one task that wait together: claimed by one statement, settled by one commit, and each by
itself when one of them ends otherwise than well.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from celery import chord, signals
from celery import current_app as celery_app
from celery.app.trace import build_tracer, trace_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from django.conf import settings
from django.contrib.auth.models import Group as Note
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from redis import Redis

from celery_ledger import context, ledger_settings
from celery_ledger.execution import batch
from celery_ledger.execution.current import is_settling
from celery_ledger.execution.turns import forget_looks
from celery_ledger.models import Job, JobQuerySet
from celery_ledger.testing import attempt, work_off
from tests.celery_ledger import tasks
from tests.postgres.hands import Hand
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = ["a", "b", "c", "d"]
Bodies = dict[str, Callable[[], Any]]


@pytest.fixture(autouse=True)
def _as_if_new(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BATCH_S", "BATCH_REDO_S"):  # a slow machine is none of its cases
        monkeypatch.setattr(ledger_settings, name, 5)


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> Bodies:
    """By name, what the body of `note` does after it has noted that name."""
    of: Bodies = {}
    noted = tasks.note.run

    def run(name: str) -> Any:
        result = noted(name)
        return of[name]() if name in of else result

    monkeypatch.setattr(tasks.note, "run", run)
    return of


def promised(*names: str, **options: Any) -> list[Job]:
    ids = [tasks.note.apply_async((name,), **options).id for name in names]
    return [Job.objects.get(pk=id_) for id_ in ids]


def attempt_all(*names: str) -> None:
    attempt(*promised(*names))


def noted() -> list[str]:
    return [*Note.objects.order_by("pk").values_list("name", flat=True)]


def states() -> dict[str, str]:
    return {job.args[0][0]: job.state for job in Job.objects.filter(task=tasks.note.name)}


def commits() -> int:
    """The number of commits that have ended jobs."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM celery_ledger_job")
        number: int = cursor.fetchone()[0]
    return number


def test_all_are_done_in_the_order_of_their_bells_by_one_commit() -> None:
    attempt_all(*NAMES)
    assert (noted(), commits()) == (NAMES, 1)
    for job in Job.objects.all():
        assert (job.state, job.result, job.attempts) == ("done", job.args[0][0], 1)


def test_what_is_told_of_one_is_told_after_the_commit(one: Hand) -> None:
    seen = []

    def look(sender: Any, **_: Any) -> None:
        done = one.do(lambda: Job.objects.filter(state="done").count())
        seen.append((done, tasks.note.request.id))

    signals.task_success.connect(look, sender=tasks.note)
    jobs = promised(*NAMES)
    try:
        attempt(*jobs)
    finally:
        signals.task_success.disconnect(look, sender=tasks.note)
    assert seen == [(4, str(job.pk)) for job in reversed(jobs)]


def test_each_attempt_has_its_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "celery_ledger.attempts")
    attempt_all(*NAMES)
    fields = [record.__dict__["fields"] for record in caplog.records]
    assert [(one["outcome"], one["attempt"]) for one in fields] == [("done", 1)] * 4


def fails() -> None:
    raise LookupError("not there")


def retries() -> None:
    raise tasks.note.retry(countdown=60)


def is_replaced() -> None:
    tasks.note.replace(tasks.add.si(1, 2))


def ends_the_body() -> None:
    raise SystemExit


def rejects() -> None:
    raise Reject("not mine", requeue=False)


def ignores() -> None:
    raise Ignore


def closes_its_connection() -> None:
    connection.close()


def returns_what_no_row_holds() -> object:
    return object()


def swallows_an_error_of_postgres() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
    except Exception:
        return


def breaks_a_rule_that_is_looked_at_in_the_end() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO pairs VALUES (1), (1)")


@pytest.fixture
def pairs() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE pairs (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE pairs")


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (fails, "dead"),
        (retries, "waiting"),
        (is_replaced, None),
        (ends_the_body, "dead"),
        (rejects, "dead"),
        (ignores, "cancelled"),
        (closes_its_connection, "dead"),
        (returns_what_no_row_holds, "dead"),
        (swallows_an_error_of_postgres, "dead"),
        (breaks_a_rule_that_is_looked_at_in_the_end, "dead"),
    ],
)
@pytest.mark.parametrize("which", ["a", "c", "d"])
def test_one_that_ends_otherwise_does_so_alone_and_the_others_are_done_once(
    bodies: Bodies, pairs: None, body: Callable[[], Any], state: str | None, which: str
) -> None:
    bodies[which] = body
    attempt_all(*NAMES)
    expected = {**dict.fromkeys(NAMES, "done"), which: state}
    assert states() == {name: state for name, state in expected.items() if state}
    assert noted() == [name for name in NAMES if name != which or body is is_replaced]
    assert {job.attempts for job in Job.objects.filter(task=tasks.note.name)} == {1}


def test_its_rest_grows_with_each_batch_in_a_row_that_comes_to_nothing() -> None:
    rest, lengths = None, []
    for _ in range(8):
        rest = batch.Rest.after(rest)
        lengths.append(rest.length_s)
    assert lengths == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_batch_that_ends_well_ends_the_row(bodies: Bodies) -> None:
    batch._rests[tasks.note.name] = batch.Rest(0, 32)
    attempt_all(*NAMES)
    bodies["e"] = fails
    attempt_all("e", "f")
    assert batch._rests[tasks.note.name].length_s == 1


@pytest.mark.parametrize(("rest_s", "settled_by"), [(60, 3), (0, 1)])
def test_after_that_its_task_is_settled_one_by_one_for_a_while(
    bodies: Bodies, monkeypatch: pytest.MonkeyPatch, rest_s: float, settled_by: int
) -> None:
    monkeypatch.setattr(settings, "LEDGER", {**settings.LEDGER, "BATCH_FIRST_REST_S": rest_s})
    bodies["a"] = fails
    attempt_all(*NAMES)
    Job.objects.all().delete()
    attempt_all("e", "f", "g")
    assert (noted()[-3:], commits()) == (["e", "f", "g"], settled_by)


@pytest.mark.parametrize("during", ["a", "b", "d"])
def test_one_whose_lease_is_lost_has_no_effect_and_the_others_are_done_once(
    bodies: Bodies, one: Hand, during: str
) -> None:
    jobs = promised(*NAMES)
    lost = Job.objects.filter(pk=jobs[1].pk)
    rescued = {"state": "waiting", "lease_until": None}
    bodies[during] = lambda: one.do(lambda: lost.update(**rescued)) and during
    attempt(*jobs)
    assert states() == {"a": "done", "b": "waiting", "c": "done", "d": "done"}
    assert noted() == ["a", "c", "d"]


def test_when_it_is_late_those_that_have_not_begun_go_back_and_are_rung_for(
    bodies: Bodies, broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_settings, "BATCH_S", 0.2)
    bodies["b"] = lambda: time.sleep(0.3)
    jobs = promised(*NAMES)
    broker.flushdb()
    attempt(*jobs)
    assert (noted(), commits()) == (["a", "b"], 2)
    waiting = Job.objects.filter(state="waiting")
    assert {job.pk for job in waiting} == {jobs[2].pk, jobs[3].pk}
    assert {(job.attempts, job.lease_until, job.history == []) for job in waiting} == {
        (0, None, True)
    }
    assert rung(broker) == [str(jobs[2].pk), str(jobs[3].pk)]


def test_one_that_fails_late_has_not_used_up_the_time_of_any(
    bodies: Bodies, broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No job is made again at once then, since the time limits of the process count from its
    bell.
    """
    monkeypatch.setattr(ledger_settings, "BATCH_REDO_S", 0.2)

    def fail_late() -> None:
        time.sleep(0.3)
        fails()

    bodies["b"] = fail_late
    jobs = promised(*NAMES)
    broker.flushdb()
    attempt(*jobs)
    assert (noted(), set(states().values())) == ([], {"waiting"})
    assert [Job.objects.get(pk=job.pk).attempts for job in jobs] == [1, 1, 0, 0]
    assert rung(broker) == [str(job.pk) for job in jobs]
    work_off()
    assert states() == {"a": "done", "b": "dead", "c": "done", "d": "done"}


def rung(broker: Redis) -> list[str]:
    queue = settings.CELERY_TASK_DEFAULT_QUEUE
    return [json.loads(raw)["headers"]["id"] for raw in reversed(broker.lrange(queue, 0, -1))]


def test_what_was_tried_before_is_tried_by_itself() -> None:
    jobs = promised(*NAMES)
    Job.objects.filter(pk=jobs[1].pk).update(attempts=1)
    attempt(*jobs)
    assert states() == {"a": "done", "b": "waiting", "c": "done", "d": "done"}
    assert commits() == 2


@pytest.mark.parametrize("others", [1, 3])
def test_a_bell_of_what_was_tried_before_is_not_used_up_by_its_company(others: int) -> None:
    [tried, *fresh] = promised(*NAMES[: others + 1])
    Job.objects.filter(pk=tried.pk).update(attempts=1)
    attempt(tried, *fresh)
    assert set(states().values()) == {"done"}


def test_a_body_that_goes_on_after_it_was_replaced_is_replaced(bodies: Bodies) -> None:
    bodies["b"] = lambda: swallowing(is_replaced)
    attempt_all(*NAMES)
    assert states() == {"a": "done", "c": "done", "d": "done"}
    assert Job.objects.filter(task=tasks.add.name).count() == 1


def swallowing(do: Callable[[], Any]) -> None:
    with suppress(Exception):
        do()


@pytest.mark.parametrize("settled_by", ["one commit", "each by itself"])
def test_what_a_hook_of_one_raises_keeps_nothing_from_the_others(
    monkeypatch: pytest.MonkeyPatch, settled_by: str
) -> None:
    """Celery lets a Reject of `on_success` through. Jobs that are done stay so, and those that were
    not begun wait again.
    """
    heard: list[str] = []
    is_a_batch, note = settled_by == "one commit", celery_app.tasks[tasks.note.name]

    def on_success(_: Any, result: str, *args: Any) -> None:
        heard.append(result)
        if result == "b":
            raise Reject("of a hook")

    monkeypatch.setattr(type(note), "on_success", on_success, raising=False)
    monkeypatch.setattr(note, "tracer", build_tracer(note.name, note, app=celery_app))
    if not is_a_batch:
        batch._rests[note.name] = batch.Rest(time.monotonic() + 60, 1)
    with suppress(Reject):
        attempt_all(*NAMES)
    if is_a_batch:
        assert (heard, set(states().values())) == (["d", "c", "b", "a"], {"done"})
    else:
        assert heard == ["a", "b"]
        assert states() == {"a": "done", "b": "done", "c": "waiting", "d": "waiting"}


@pytest.mark.parametrize("place", [0, 1, 3])
def test_one_that_came_too_late_is_cancelled_once_and_the_others_are_done(place: int) -> None:
    jobs, revoked = promised(*NAMES), []
    late = {"expires": (timezone.now() - timedelta(seconds=1)).isoformat()}
    envelope = jobs[place].envelope
    Job.objects.filter(pk=jobs[place].pk).update(
        envelope={**envelope, "headers": {**envelope["headers"], **late}}
    )

    def note(request: Any, **_: Any) -> None:
        revoked.append(request.id)

    signals.task_revoked.connect(note, sender=tasks.note)
    try:
        attempt(*jobs)
    finally:
        signals.task_revoked.disconnect(note, sender=tasks.note)
    expected = {**dict.fromkeys(NAMES, "done"), NAMES[place]: "cancelled"}
    assert (states(), revoked) == (expected, [str(jobs[place].pk)])


def test_what_celery_calls_after_the_commit_is_in_nobodys_settlement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settling = []

    def look(sender: Any, **_: Any) -> None:
        settling.append(is_settling())

    signals.task_postrun.connect(look, sender=tasks.note)
    try:
        attempt_all(*NAMES)
    finally:
        signals.task_postrun.disconnect(look, sender=tasks.note)
    assert settling == [False] * 4


def test_parts_of_a_chord_count_in_one_batch() -> None:
    result = chord([tasks.add.s(1, 1), tasks.add.s(2, 2), tasks.add.s(3, 3)], tasks.total.s())()
    attempt(*Job.objects.filter(task=tasks.add.name).order_by("created_at"))
    work_off()
    assert result.get() == 12
    assert Job.objects.filter(task=tasks.total.name).count() == 1


def test_what_each_asks_for_after_the_commit_comes_once(bodies: Bodies) -> None:
    heard: list[str] = []
    for name in NAMES:
        bodies[name] = partial(transaction.on_commit, partial(heard.append, name))
    bodies["b"] = lambda: transaction.on_commit(fails)
    attempt_all(*NAMES)
    assert (heard, commits()) == (["d", "c", "a"], 1), "as their tracers go on"


def test_each_promises_what_follows_it_in_its_own_name() -> None:
    with context.replaced({"request_id": "one"}):
        first = promised("a", link=tasks.add.si(1, 1))
    with context.replaced({"request_id": "two"}):
        second = promised("b", link=tasks.add.si(2, 2))
    attempt(*first, *second)
    follow = Job.objects.filter(task=tasks.add.name)
    assert {(job.parent_id, job.context["request_id"]) for job in follow} == {
        (first[0].pk, "one"),
        (second[0].pk, "two"),
    }


def test_what_is_promised_after_the_commit_is_promised_in_the_name_of_who_asked(
    bodies: Bodies,
) -> None:
    jobs = []
    for name in NAMES:
        bodies[name] = lambda: transaction.on_commit(lambda: tasks.add.delay(1, 1))
        with context.replaced({ledger_settings.OWNER: f"owner of {name}"}):
            jobs += promised(name)
    forget_looks()
    batch_of_all = [str(job.pk) for job in jobs]
    attempt(*jobs)
    follow = Job.objects.filter(task=tasks.add.name)
    assert {(str(job.parent_id), job.owner) for job in follow} == {
        (id_, f"owner of {name}") for id_, name in zip(batch_of_all, NAMES, strict=True)
    }


@pytest.mark.parametrize(
    "also", ["a" * 9, {"a": 1}, [1], [None], [["x"]], ["x"] * 100_000, 7, ["\x00", "no id"]]
)
def test_whatever_a_forged_bell_says_of_others_the_job_is_done(also: Any) -> None:
    [job] = promised("a")
    request = {
        "id": str(job.pk),
        "task": job.task,
        "also": also,
        "timelimit": job.envelope["headers"]["timelimit"],
        "delivery_info": {"exchange": "", "routing_key": job.queue},
    }
    trace_task(tasks.note, str(job.pk), (), {}, request=request, app=celery_app)
    assert (noted(), states()) == (["a"], {"a": "done"})


def test_a_task_that_is_not_atomic_is_made_alone_whatever_its_bell_says() -> None:
    jobs = [Job.objects.get(pk=tasks.note_outside.delay(name).id) for name in NAMES]
    attempt(*jobs)
    assert noted() == ["a"]


@pytest.mark.parametrize("trouble", [OperationalError("server closed"), SoftTimeLimitExceeded()])
def test_what_cannot_be_given_back_is_owed(
    bodies: Bodies, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(ledger_settings, "BATCH_S", 0)
    monkeypatch.setattr(ledger_settings, "OWED_PAUSE_S", 0.05)
    give_back, troubles = JobQuerySet.give_back, iter([trouble])

    def is_away_once(*args: Any, **named: Any) -> None:
        for each in troubles:
            raise each
        give_back(*args, **named)

    monkeypatch.setattr(JobQuerySet, "give_back", is_away_once)
    attempt_all(*NAMES)
    until(lambda: "running" not in states().values(), "it is given back", within_s=10)
    assert states() == {"a": "done", "b": "waiting", "c": "waiting", "d": "waiting"}


def test_while_several_owners_wait_each_bell_is_for_whose_turn_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger_settings, "TURN_LOOK_S", 5)  # however slow the machine is
    with context.replaced({ledger_settings.OWNER: "flood"}):
        flood = promised(*"abcdefgh")
    with context.replaced({ledger_settings.OWNER: "quiet"}):
        tasks.add.delay(1, 1)
    attempt(*flood[:3])
    assert Job.objects.get(task=tasks.add.name).state == "done"
    assert noted() == ["a", "b"]


def of(owner: str, *names: str) -> list[Job]:
    with context.replaced({ledger_settings.OWNER: owner}):
        return promised(*names)


def test_the_first_jobs_of_several_owners_are_settled_together_and_then_their_second() -> None:
    flood = of("flood", *"abcd")
    of("quiet", "q", "r")
    of("third", "t")
    attempt(*flood)
    assert noted() == ["a", "q", "t", "b"], "and its turn is over, for as many bells"
    assert Job.objects.filter(state="waiting").count() == 3
    attempt(*Job.objects.filter(state="waiting"))
    work_off()
    assert set(states().values()) == {"done"}
    done = Job.objects.filter(state="done").count()
    assert commits() < done


@pytest.mark.parametrize("whose", ["flood", "quiet"])
def test_a_job_that_was_tried_before_has_its_turn_among_owners_too(whose: str) -> None:
    flood, quiet = of("flood", *"abcd"), of("quiet", "q", "r")
    tried = (flood if whose == "flood" else quiet)[0]
    Job.objects.filter(pk=tried.pk).update(attempts=1)
    attempt(*flood[1:4])
    assert states()[tried.args[0][0]] == "done"


def test_a_higher_priority_comes_before_a_batch() -> None:
    jobs = promised(*NAMES)
    tasks.add.apply_async((1, 1), priority=9)
    tasks.add.apply_async((2, 2), priority=-9)
    attempt(*jobs[:2])
    done = Job.objects.filter(task=tasks.add.name, state="done")
    assert [job.args[0] for job in done] == [[1, 1]]
    assert len(noted()) == 1, "the other bell's"


def test_bells_of_a_turn_that_would_wait_for_long_ring_again(
    bodies: Bodies, broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_settings, "BATCH_S", 0.2)
    bodies["a"] = lambda: time.sleep(0.3)
    jobs = promised(*NAMES)
    tasks.add.apply_async((2, 2), priority=-9)
    broker.flushdb()
    attempt(*jobs)
    assert (noted(), rung(broker)) == (["a"], [str(job.pk) for job in jobs[1:]])


def test_a_batch_that_meets_a_locked_row_gives_way_and_each_waits_by_itself(
    bodies: Bodies, one: Hand, two: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_settings, "BATCH_S", 0.4)
    locked = Note.objects.create(name="locked")
    bodies["c"] = lambda: Note.objects.filter(pk=locked.pk).update(name="free") and "c"
    jobs = promised(*NAMES)
    one.open_transaction()
    one.do(lambda: Note.objects.filter(pk=locked.pk).update(name="locked"))
    work = two.begin(lambda: attempt(*jobs))
    until(lambda: states()["b"] == "done", "the batch has given way", within_s=10)
    two.wait_until_blocked()
    one.commit()
    work.result(timeout=10)
    work_off()
    assert set(states().values()) == {"done"}
    assert sorted(noted()) == ["a", "b", "c", "d", "free"]


def test_a_batch_that_meets_a_deadlock_is_made_one_by_one(bodies: Bodies) -> None:
    victims = iter(["once"])

    def collide() -> None:
        for _ in victims:
            with connection.cursor() as cursor:
                cursor.execute(DEADLOCK)

    bodies["c"] = collide
    attempt_all(*NAMES)
    assert (noted(), set(states().values())) == (NAMES, {"done"})


DEADLOCK = "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$"
