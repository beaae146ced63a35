"""`manage.py jobs …`: what an operator reads and does."""

import getpass
import json
import logging
import re
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import current_app as celery_app
from django.contrib.auth.models import Group as Note
from django.core.management import CommandError, call_command
from django.db.models import F
from django.utils import timezone
from redis import Redis

from celery_ledger import context
from celery_ledger.models import Job, State, Worker
from celery_ledger.operations.listing import lasting, local_time, table
from celery_ledger.testing import attempt, work_off
from celery_ledger.worker.clock import Clock
from tests.celery_ledger import tasks

pytestmark = pytest.mark.django_db(transaction=True)
LEASE = timedelta(seconds=40)
ADD, FAIL = "tests.celery_ledger.tasks.add", "tests.celery_ledger.tasks.note_then_fail"


def jobs(*words: object) -> str:
    """The output of `manage.py jobs …` with these words."""
    output = StringIO()
    call_command("jobs", *map(str, words), stdout=output)
    return output.getvalue().removesuffix("\n")


def dead() -> Job:
    id_ = tasks.note_then_fail.delay("never").id
    work_off()
    return Job.objects.get(pk=id_)


def running(*, worker: UUID | None = None) -> Job:
    id_ = UUID(tasks.add.delay(1, 1).id)
    Job.objects.claim([id_], task=ADD, token=uuid4(), worker=worker, pid=77, lease=LEASE)
    return Job.objects.get(pk=id_)


def in_state(state: State) -> Job:
    """A job in this state, which has had no attempt."""
    job = running()
    ended = timezone.now() if state in (State.DONE, State.DEAD, State.CANCELLED) else None
    lease = job.lease_until if state == State.RUNNING else None
    Job.objects.filter(pk=job.pk).update(state=state, lease_until=lease, finished_at=ended)
    return Job.objects.get(pk=job.pk)


def beating(name: str = "celery@here") -> Worker:
    Worker.objects.beat(uuid4(), name=name, pid=5)
    return Worker.objects.get(name=name)


# --- stats ----------------------------------------------------------------------------------------


def test_stats_of_an_empty_ledger() -> None:
    assert jobs("stats").split("\n\n") == [
        (
            "TASK       WAITING  RUNNING  DONE  DEAD  CANCELLED\n"
            "all tasks        0        0     0     0          0"
        ),
        "No due job is waiting.",
        "Losses in the last hour: 0",
        "No worker is alive.",
    ]


def test_stats_count_by_task_and_state_and_tell_who_waits_was_lost_and_works() -> None:
    worker, silent = beating(), beating("silent")
    Worker.objects.filter(pk=silent.pk).update(seen_at=timezone.now() - timedelta(seconds=16))
    # what follows may take as long as it likes
    Worker.objects.filter(pk=worker.pk).update(seen_at=timezone.now() + timedelta(minutes=1))
    dead()
    lost, long_ago, due = running(), running(), UUID(tasks.add.delay(1, 1).id)
    tasks.add.apply_async((1, 1), countdown=60)
    Job.objects.filter(pk=lost.pk).update(losses=2)
    Job.objects.filter(pk=long_ago.pk).update(
        losses=1, started_at=timezone.now() - timedelta(minutes=61)
    )
    Job.objects.filter(pk=due).update(due_at=timezone.now() - timedelta(minutes=5, seconds=2))
    counts, oldest, losses, workers = jobs("stats").split("\n\n")
    assert [line.split() for line in counts.splitlines()] == [
        ["TASK", "WAITING", "RUNNING", "DONE", "DEAD", "CANCELLED"],
        ["all", "tasks", "2", "2", "0", "1", "0"],
        [ADD, "2", "2", "0", "0", "0"],
        [FAIL, "0", "0", "0", "1", "0"],
    ]
    assert re.fullmatch(
        rf"The oldest due job has waited for 5 min \d+ s: {re.escape(ADD)} {due}", oldest
    )
    assert losses == "Losses in the last hour: 2"
    assert workers.splitlines()[1:] == [
        f"celery@here   5    {local_time(worker.started_at)}  0 s ago"
    ]


def test_what_is_due_beside_an_idle_worker_that_begins_nothing_is_told() -> None:
    due = tasks.add.delay(1, 1).id
    Job.objects.update(due_at=timezone.now() - timedelta(seconds=100))
    Worker.objects.beat(uuid4(), name="deaf", pid=6, queues=["kaiten"], quiet_s=30)
    [section] = [part for part in jobs("stats").split("\n\n") if part.startswith("Due but unheard")]
    assert section.startswith("Due but unheard in kaiten, beside an idle worker: for 1 min 4")
    assert 100 <= json.loads(jobs("stats", "--json"))["unheard_seconds"]["kaiten"] < 200
    assert "no worker begins what is due in the queue kaiten, and one is idle" in jobs("why", due)


def test_columns_are_aligned_and_spans_read_in_two_units() -> None:
    assert table([("A", "N"), ("long", "10")], numbers_from=1) == "A      N\nlong  10"
    spans = [
        timedelta(seconds=-1),
        timedelta(seconds=59),
        timedelta(minutes=61),
        timedelta(days=2, hours=3, minutes=4),
    ]
    assert [lasting(span) for span in spans] == ["0 s", "59 s", "1 h 1 min", "2 d 3 h"]


# --- list and show --------------------------------------------------------------------------------


def test_list_tells_the_newest_first_one_line_each() -> None:
    old, new = tasks.add.delay(1, 1).id, dead()
    Job.objects.filter(pk=old).update(created_at=F("created_at") - timedelta(minutes=1))
    header, *lines = jobs("list").splitlines()
    assert header.split() == ["ID", "STATE", "TASK", "CREATED", "DUE", "ATTEMPTS", "ERROR"]
    assert [line.split()[:3] for line in lines] == [[str(new.pk), "dead", FAIL], [old, "done", ADD]]
    assert [line.split()[-2:] for line in lines] == [["1", "ValueError"], ["1", "-"]]
    assert local_time(new.created_at) in lines[0]
    assert local_time(new.created_at).endswith(" JST")


def test_list_narrows_by_state_task_and_limit() -> None:
    ids = [tasks.add.delay(number, 1).id for number in range(3)]
    failed = dead()
    Job.objects.filter(pk__in=ids).update(state="waiting", finished_at=None)
    assert len(jobs("list", "--state", "waiting").splitlines()) == 1 + 3
    assert len(jobs("list", "--task", ADD, "--limit", "2").splitlines()) == 1 + 2
    assert jobs("list", "--state", "dead").splitlines()[1].split()[0] == str(failed.pk)
    assert jobs("list", "--task", FAIL, "--state", "done") == "No such jobs."


def test_list_takes_the_names_that_celery_has_for_states() -> None:
    failed = dead()
    tasks.add.delay(1, 1)
    assert jobs("list", "--state", "FAILURE").splitlines()[1].split()[0] == str(failed.pk)
    assert len(jobs("list", "--state", "pending").splitlines()) == 2


def test_list_narrows_by_queue_time_and_what_it_is_about() -> None:
    old = tasks.note.apply_async(("order-17",), queue="bulk").id
    new = tasks.note.delay("order-18").id
    ago = timezone.now() - timedelta(hours=3)
    Job.objects.filter(pk=old).update(created_at=ago)

    def found(*words: str) -> list[str]:
        return [line.split()[0] for line in jobs("list", *words).splitlines()[1:]]

    assert found("--queue", "bulk") == found("--about", "order-17") == [old]
    assert found("--since", "2h") == found("--about", "order-18") == [new]
    assert found("--since", "4 h") == found("--since", ago.isoformat()) == [new, old]
    assert found("--since", (ago.date() - timedelta(days=1)).isoformat()) == [new, old]
    assert found("--about", "order-1") == []
    japanese = tasks.note.delay('鮭 "17"').id
    assert found("--about", '鮭 "17"') == [japanese]
    assert found("--since", "999999d") == [japanese, new, old]


def resolved(name: str) -> list[str]:
    names = {"order seventeen": ["order-17", "charge-4"], "all": [str(n) for n in range(300)]}
    return names.get(name, [])


def test_what_a_job_is_about_may_have_another_name_for_people(settings: Any) -> None:
    settings.LEDGER = {
        **settings.LEDGER,
        "ABOUT": "tests.celery_ledger.operations.test_commands.resolved",
    }
    ids = {tasks.note.delay(name).id for name in ("order-17", "charge-4")}
    tasks.note.delay("order-18")
    lines = jobs("list", "--about", "order seventeen").splitlines()[1:]
    assert {line.split()[0] for line in lines} == ids
    with pytest.raises(CommandError, match="Nothing is known by the name 'order-18'"):
        jobs("list", "--about", "order-18")
    with pytest.raises(CommandError, match="'all' stands for 300 ids; 200 can be looked for"):
        jobs("list", "--about", "all")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--state", "ded"], "There is no state 'ded'. Did you mean dead?"),
        (["--task", "ad"], "There is no task 'ad'."),
        (["--task", "add"], f"There is no task 'add'. Did you mean {ADD}?"),
        (["--task", f"{ADD}s"], f"There is no task '{ADD}s'. Did you mean {ADD}"),
        (["--queue", "x"], "There is no queue 'x'; there are bulk, kaiten, outside."),
        (["--since", "2026-13-01"], "'2026-13-01' is no time. Write how long ago"),
        (["--since", "yesterday"], "'yesterday' is no time. Write how long ago"),
    ],
)
def test_what_is_mistyped_is_an_error_with_what_may_have_been_meant(
    words: list[str], sentence: str
) -> None:
    with pytest.raises(CommandError) as refused:
        jobs("list", *words)
    assert str(refused.value).startswith(sentence)


def test_list_show_and_stats_speak_json_too() -> None:
    running()
    failed = dead()
    first, second = (json.loads(line) for line in jobs("list", "--json").splitlines())
    assert (first["id"], first["state"], first["error"]["type"]) == (
        str(failed.pk),
        "dead",
        "ValueError",
    )
    assert "args" not in second
    assert json.loads(jobs("show", "--json", failed.pk))["args"] == [["never"], {}]
    counted = json.loads(jobs("stats", "--json"))
    assert counted["tasks"] == {ADD: {"running": 1}, FAIL: {"dead": 1}}
    assert jobs("list", "--json", "--state", "done") == ""


def test_an_id_may_be_cut_short_while_it_is_one_jobs_alone() -> None:
    one, two, three = (
        UUID(f"{first}-0000-4000-8000-000000000000")
        for first in ("12345678", "12349999", "12347777")
    )
    for id_ in (one, two, three):
        tasks.note.apply_async(("a",), task_id=str(id_))
    for short in ("12345", "12345678-00", str(one).upper()):
        assert jobs("why", short).startswith(f"tests.celery_ledger.tasks.note {one} is waiting.")
    with pytest.raises(CommandError, match=f"Several jobs begin with 1234: {one}, {three}, {two}"):
        jobs("cancel", "1234")
    with pytest.raises(CommandError, match="There is no job abcd"):
        jobs("show", "abcd")
    assert Job.objects.filter(state="waiting").count() == 3


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "many", "٣", "9" * 5000])
def test_a_limit_that_cannot_be_is_refused(limit: str) -> None:
    with pytest.raises(CommandError, match="a whole number from 1 to 1000"):
        jobs("list", f"--limit={limit}")


def test_show_tells_every_column_with_the_arguments() -> None:
    with context.bound(request_id="8c1f-request"):
        job = Job.objects.get(pk=tasks.add.delay(20, 22).id)
    sheet = dict(line.split(maxsplit=1) for line in jobs("show", job.pk).splitlines())
    assert list(sheet) == [field.name for field in Job._meta.concrete_fields]
    assert (sheet["id"], sheet["task"], sheet["state"]) == (str(job.pk), ADD, "waiting")
    assert (sheet["args"], sheet["context"]) == ("[[20, 22], {}]", '{"request_id": "8c1f-request"}')
    assert (sheet["due_at"], sheet["lease_until"], sheet["result"]) == (
        local_time(job.due_at),
        "-",
        "-",
    )


def test_a_row_that_cannot_be_decoded_can_still_be_read() -> None:
    id_ = tasks.add.delay(1, 1).id
    Job.objects.update(args=[[{"__type__": "nonsense", "__value__": 1}], {}])
    assert '"nonsense"' in jobs("show", id_)
    assert jobs("why", id_).startswith(f"{ADD} {id_} is waiting.")


# --- why ------------------------------------------------------------------------------------------


def test_why_tells_the_story_of_a_job_that_is_done_and_what_it_led_to() -> None:
    with context.bound(request_id="8c1f-request", owner="0198-shop", traceparent="00-4bf9"):
        id_ = tasks.add.apply_async((1, 2), link=tasks.add.s(10)).id
    work_off()
    job, child = Job.objects.get(pk=id_), Job.objects.get(parent_id=id_)
    assert jobs("why", id_).splitlines() == [
        f"{ADD} {id_} is done.",
        f"It was promised at {local_time(job.created_at)} by request 8c1f-request of owner "
        "0198-shop, traceparent 00-4bf9,"
        " for the queue kaiten.",
        f"It was due at {local_time(job.due_at)}.",
        (
            "Rung again by the clock: never. Claimed: once. Lost without a verdict: never. "
            "Told to try again: never."
        ),
        f"It was done at {local_time(job.finished_at)} and came to 3.",
        "It led to one job:",
        f"  {ADD} {child.pk}, done",
    ]
    assert f"out of job {id_} ({ADD}), for the queue" in jobs("why", child.pk)
    Job.objects.filter(pk=id_).delete()
    assert f"out of job {id_} (already pruned), for the queue" in jobs("why", child.pk)


def test_why_tells_what_killed_a_job_on_one_line() -> None:
    job = dead()
    Job.objects.update(
        losses=2,
        retries=3,
        rings=1,
        history=[],
        error={"type": "Odd", "message": "two\nlines \x1b[31m"},
    )
    sentences = jobs("why", job.pk).splitlines()
    assert sentences[1].endswith(
        "by no request (a shell, a schedule or another job), for the queue kaiten."
    )
    assert sentences[3:] == [
        (
            "Rung again by the clock: once. Claimed: once. Lost without a verdict: twice. "
            "Told to try again: 3 times."
        ),
        r'Its newest error was Odd: "two\nlines \u001b[31m".',
        (
            f"It died at {local_time(job.finished_at)}; "
            f"`manage.py jobs retry {job.pk}` retries it, and `jobs cancel` puts it aside."
        ),
    ]


def test_why_tells_how_each_attempt_ended_and_what_the_last_one_wrote() -> None:
    id_ = tasks.come_back_once.delay("a").id
    attempt(Job.objects.get())
    Job.objects.update(due_at=timezone.now())
    worker = beating()
    Job.objects.claim(
        [UUID(id_)],
        task=tasks.come_back_once.name,
        token=uuid4(),
        worker=worker.pk,
        pid=1,
        lease=LEASE,
    )
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    Clock(celery_app, worker=uuid4(), name="other@here").rescuer.rescue()
    work_off()
    job = Job.objects.get()
    retried, lost = (local_time(datetime.fromisoformat(entry["at"])) for entry in job.history)
    sentences = jobs("why", id_).splitlines()
    assert sentences[4:] == [
        f'  {retried}  attempt 1 on nobody asked to be tried again: Passing, "not yet"',
        (
            f"  {lost}  attempt 2 on worker celery@here was lost: Lost, "
            '"its worker fell silent or its lease ran out"'
        ),
        f"It was done at {local_time(job.finished_at)} and came to nothing.",
        "It wrote note a.",
    ]


def test_a_history_keeps_the_newest_ends_cut_short(settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "HISTORY_MAX": 3, "HISTORY_MESSAGE_MAX_CHARS": 7}
    tasks.fail_for_a_while.apply_async((9,))
    for _ in range(3):
        Job.objects.update(due_at=timezone.now())
        attempt(Job.objects.get())
    Job.objects.retry(by="hana")
    history = Job.objects.get().history
    assert [(entry["attempt"], entry["end"], entry["error"]["message"]) for entry in history] == [
        (2, "retry", "failure"),
        (3, "dead", "failure"),
        (3, "retried", "by hana"),
    ]


def test_why_tells_who_holds_a_running_job_and_until_when() -> None:
    worker = beating()
    job = running(worker=worker.pk)
    held = (
        f"Process 77 of worker celery@here has held it since {local_time(job.started_at)} and may "
        f"until {local_time(job.lease_until)}."
    )
    assert jobs("why", job.pk).splitlines()[-1] == held
    Worker.objects.update(seen_at=timezone.now() - timedelta(seconds=16))
    silent = "That worker is silent: the clock of a living one gives the job back."
    assert jobs("why", job.pk).splitlines()[-2:] == [held, silent]
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert jobs("why", job.pk).splitlines()[-1] == (
        "Its lease has run out: the clock of a living worker gives it back."
    )


def why_not(id_: object) -> list[str]:
    begin = "It is not running because "
    return [
        line.removeprefix(begin) for line in jobs("why", id_).splitlines() if line.startswith(begin)
    ]


def test_why_tells_that_a_job_is_not_due() -> None:
    later = Job.objects.get(pk=tasks.add.apply_async((1, 1), countdown=60).id)
    assert why_not(later.pk) == [f"it is not due until {local_time(later.due_at)}."]
    assert f"It is due at {local_time(later.due_at)}." in jobs("why", later.pk).splitlines()


def test_why_tells_that_no_worker_is_alive_and_else_where_the_bell_is(broker: Redis) -> None:
    job = Job.objects.get(pk=tasks.add.delay(1, 1).id)
    assert why_not(job.pk) == ["no worker has beaten in the last 15 s: start one."]
    beating()
    on_its_way = (
        "its bell is on its way (jobs running: 0); "
        f"unheard, the clock rings at {local_time(job.ring_at)}."
    )
    assert why_not(job.pk) == [on_its_way]
    running()
    Job.objects.filter(pk=job.pk).update(rings=2)
    unheard = (
        "nobody has heard its bell yet (jobs running: 1); "
        f"the clock rings again at {local_time(job.ring_at)}."
    )
    assert why_not(job.pk) == [unheard]
    Job.objects.filter(pk=job.pk).update(ring_at=timezone.now())
    assert why_not(job.pk) == [
        "the clock is about to ring for it, when its queue has room (jobs running: 1)."
    ]


def test_why_tells_that_a_task_or_queue_is_unknown_to_this_release() -> None:
    beating()
    job = Job.objects.get(pk=celery_app.send_task("shop.tasks.of_tomorrow", queue="night").id)
    assert why_not(job.pk) == [
        "this release knows no task shop.tasks.of_tomorrow; it waits for a release that does.",
        "no worker of this release listens to the queue night.",
    ]


def test_why_imports_the_tasks_of_this_release_before_it_calls_one_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    imported: list[int] = []
    monkeypatch.setattr(celery_app.loader, "import_default_modules", lambda: imported.append(1))
    jobs("why", tasks.add.delay(1, 1).id)
    assert imported == [1]


def test_why_tells_that_the_broker_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    beating()
    id_ = tasks.add.delay(1, 1).id
    monkeypatch.setattr(celery_app.amqp.bell, "_resting_until", float("inf"))
    assert why_not(id_) == ["the broker does not answer: its bell cannot be heard until it does."]


# --- retry and cancel -----------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.DEAD, State.CANCELLED])
def test_retry_gives_a_dead_or_cancelled_job_another_life_and_rings(
    state: State, broker: Redis
) -> None:
    job = in_state(state)
    error = {"type": "Old", "message": "trouble"}
    ago = timezone.now() - timedelta(hours=1)
    Job.objects.update(
        losses=3, retries=2, attempts=9, rings=4, error=error, due_at=ago, ring_at=ago
    )
    broker.flushdb()
    assert jobs("retry", job.pk) == f"Job {job.pk} ({ADD}) waits again, due now."
    now = Job.objects.get()
    assert (now.state, now.finished_at, now.error) == ("waiting", None, error)
    assert (now.attempts, now.losses, now.retries, now.rings) == (0, 0, 0, 0)
    assert now.due_at <= timezone.now() < now.due_at + timedelta(seconds=5)
    assert now.ring_at - now.due_at == timedelta(seconds=5)
    assert broker.llen("kaiten") == 1
    assert now.history[-1]["error"] == {"type": "Retried", "message": f"by {getpass.getuser()}"}
    assert "a person retried it, and its counts began anew, after 9 attempts" in jobs("why", job.pk)
    work_off()
    assert (Job.objects.get().state, Job.objects.get().result) == ("done", 2)


def test_a_retry_is_one_line_of_the_log_that_says_who(
    caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "hana")
    first, second = dead(), dead()
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="celery_ledger.operations.interventions"):
        jobs("retry", first.pk, second.pk)
    listed = ", ".join(
        f"{FAIL} {id_} (was dead, attempts: 1)" for id_ in sorted([first.pk, second.pk])
    )
    assert caplog.messages == [f"Jobs retried by hana: {listed}"]


def test_a_nameless_user_is_told_by_number(
    caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    def nameless() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    id_ = tasks.add.delay(1, 1).id
    jobs("cancel", id_)
    assert Job.objects.get().error == {"type": "Cancelled", "message": "by uid 4711"}


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (State.DONE, "is done, and what it did is not done again."),
        (State.RUNNING, "is running; see first how it ends."),
        (State.WAITING, "is waiting already."),
    ],
)
def test_a_job_that_is_not_dead_or_cancelled_is_not_retried(state: State, sentence: str) -> None:
    job, other = in_state(state), dead_already()
    before = Job.objects.filter(pk=job.pk).values().get()
    with pytest.raises(CommandError) as refused:
        jobs("retry", job.pk, other.pk)
    assert str(refused.value) == f"Job {job.pk} ({ADD}) {sentence}"
    assert Job.objects.filter(pk=job.pk).values().get() == before
    assert Job.objects.get(pk=other.pk).state == "waiting"


def dead_already() -> Job:
    return in_state(State.DEAD)


def test_retry_of_a_task_takes_its_dead_and_nothing_else(settings: Any, broker: Redis) -> None:
    settings.LEDGER = {**settings.LEDGER, "BATCH": 2}
    retried = {in_state(State.DEAD).pk for _ in range(5)}
    left = {in_state(state).pk for state in (State.CANCELLED, State.DONE, State.RUNNING)}
    other = dead()
    broker.flushdb()
    assert (
        jobs("retry", "--task", ADD, "--state", "dead")
        == f"Jobs of {ADD} that wait again, due now: 5."
    )
    assert set(Job.objects.filter(state="waiting").values_list("pk", flat=True)) == retried
    assert Job.objects.filter(pk__in=left).count() == 3
    assert Job.objects.get(pk=other.pk).state == "dead"
    assert broker.llen("kaiten") == 2  # the clock rings the rest


def test_a_chain_goes_on_after_the_retry_of_the_step_that_broke_it() -> None:
    trouble = Note.objects.create(name="trouble")
    (tasks.fail_for_a_while.s(0) | tasks.add.s("!") | tasks.add.s("?")).delay()
    work_off(ahead=timedelta(days=1))
    broken, *unreachable = Job.objects.order_by("queue").reverse()
    assert [(job.state, job.queue) for job in (broken, *unreachable)] == [
        ("dead", "kaiten"),
        ("dead", ""),
        ("dead", ""),
    ]
    trouble.delete()
    jobs("retry", broken.pk)
    work_off()
    assert Job.objects.count() == 3
    assert set(Job.objects.values_list("state", "result")) == {
        ("done", "at last"),
        ("done", "at last!"),
        ("done", "at last!?"),
    }


def test_a_job_that_was_never_promised_is_not_retried() -> None:
    (tasks.note_then_fail.si("never") | tasks.add.si(1, 1)).delay()
    work_off()
    unreachable = Job.objects.get(task=ADD)
    with pytest.raises(CommandError) as refused:
        jobs("retry", unreachable.pk)
    assert (
        str(refused.value)
        == f"Job {unreachable.pk} ({ADD}) was never promised, because a job before it died."
    )
    assert jobs("retry", "--task", ADD) == f"Jobs of {ADD} that wait again, due now: 0."
    assert jobs("why", unreachable.pk).splitlines() == [
        f"{ADD} {unreachable.pk} is dead.",
        "It was never promised, because a job before it in its chain or chord died.",
        'Its newest error was ValueError: "no such luck".',
    ]


def test_cancelled_jobs_of_a_task_can_be_retried_by_their_state() -> None:
    cancelled, left = in_state(State.CANCELLED), in_state(State.DEAD)
    assert (
        jobs("retry", "--task", ADD, "--state", "cancelled")
        == f"Jobs of {ADD} that wait again, due now: 1."
    )
    assert [Job.objects.get(pk=job.pk).state for job in (cancelled, left)] == ["waiting", "dead"]


def test_cancel_of_a_task_takes_what_waits_and_nothing_else(settings: Any) -> None:
    settings.LEDGER = {**settings.LEDGER, "BATCH": 2}
    waiting = {in_state(State.WAITING).pk for _ in range(5)}
    for state in (State.RUNNING, State.DONE, State.DEAD):
        in_state(state)
    assert jobs("cancel", "--task", ADD) == f"Jobs of {ADD} that are cancelled: 5."
    assert set(Job.objects.filter(state="cancelled").values_list("pk", flat=True)) == waiting
    with pytest.raises(CommandError, match="Name the jobs by their ids, or all that wait"):
        jobs("cancel")


def test_retry_must_be_told_what() -> None:
    job = dead()
    for words in ([], [job.pk, "--task", FAIL]):
        with pytest.raises(CommandError, match="Name the jobs by their ids, or all of one task"):
            jobs("retry", *words)
    with pytest.raises(CommandError, match="--state goes with --task"):
        jobs("retry", job.pk, "--state", "dead")
    assert Job.objects.get().state == "dead"


def test_cancel_ends_a_waiting_job_and_says_by_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "hana")
    id_ = tasks.note.delay("never").id
    assert jobs("cancel", id_) == f"Job {id_} (tests.celery_ledger.tasks.note) is cancelled."
    job = Job.objects.get()
    assert (job.state, job.error) == ("cancelled", {"type": "Cancelled", "message": "by hana"})
    assert job.finished_at is not None
    assert work_off() == 0


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (State.RUNNING, "is running and ends by itself."),
        (State.DONE, "is done already."),
        (State.CANCELLED, "is cancelled already."),
    ],
)
def test_a_job_that_does_not_wait_is_not_cancelled(state: State, sentence: str) -> None:
    job = in_state(state)
    before = Job.objects.values().get()
    with pytest.raises(CommandError) as refused:
        jobs("cancel", job.pk)
    assert str(refused.value) == f"Job {job.pk} ({ADD}) {sentence}"
    assert Job.objects.values().get() == before


def test_cancel_puts_a_dead_job_aside_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "hana")
    job = dead()
    assert jobs("cancel", job.pk, "--note", "paid by hand") == (
        f"Job {job.pk} ({FAIL}) was dead and is put aside."
    )
    aside = Job.objects.get()
    assert (aside.state, aside.error, aside.finished_at) == (
        "cancelled",
        job.error,
        job.finished_at,
    )
    assert "a person put it aside, dead as it was after 1 attempts: Discarded, " in jobs(
        "why", job.pk
    )
    assert '"by hana: paid by hand"' in jobs("why", job.pk)
    assert jobs("retry", job.pk).endswith("waits again, due now.")


def test_cancel_of_a_task_puts_its_dead_aside_if_told_so() -> None:
    dead(), dead()
    tasks.note_then_fail.delay("waits")
    assert jobs("revoke", "--task", FAIL, "--state", "failure") == (
        f"Jobs of {FAIL} that were dead and are put aside: 2."
    )
    assert sorted(Job.objects.values_list("state", flat=True)) == [
        "cancelled",
        "cancelled",
        "waiting",
    ]
    with pytest.raises(CommandError, match="Not those that are done: only waiting or dead ones"):
        jobs("cancel", "--task", FAIL, "--state", "done")


def test_why_shows_where_a_dead_job_failed_and_nothing_of_who_called_it() -> None:
    trace = jobs("why", dead().pk).split("\n\n")[1].splitlines()
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[1].endswith("in note_then_fail")
    assert trace[-1] == "ValueError: no such luck"


def test_a_traceback_moves_nobodys_cursor() -> None:
    job = dead()
    Job.objects.update(error={**job.error, "traceback": "a\n  \x1b[31m鮭\x9b\n"})  # type: ignore[dict-item]
    assert jobs("why", job.pk).splitlines()[-2:] == ["a", r"  \x1b[31m鮭\x9b"]


@pytest.mark.parametrize("action", ["show", "why", "retry", "cancel"])
def test_an_id_that_is_none_or_unknown_is_answered_by_a_sentence(action: str) -> None:
    with pytest.raises(CommandError) as refused:
        jobs(action, "charge")
    assert str(refused.value) == "'charge' is no job's id; `manage.py jobs list` shows them."
    unknown = uuid4()
    with pytest.raises(CommandError) as refused:
        jobs(action, unknown)
    assert (
        str(refused.value) == f"There is no job {unknown}; finished ones are pruned after a while."
    )


def test_why_tells_that_a_call_waits_for_room_among_the_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Threads need no broker."""
    job = Job.objects.get(pk=tasks.call.delay(1).id)
    beating()
    monkeypatch.setattr(celery_app.amqp.bell, "_resting_until", float("inf"))
    assert why_not(job.pk) == [
        "the threads of a worker begin it when it is its owner's turn and they have room "
        "(jobs of this task running: 0; calls of a worker: 100)."
    ]
