"""Celery's canvas on the ledger: shapes of work whose every step is a row of the transaction before
it.
"""

from datetime import timedelta
from itertools import islice
from typing import Any
from uuid import uuid4

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError, TaskRevokedError
from celery.result import AsyncResult, GroupResult
from django.contrib.auth.models import Group as Note
from django.db import IntegrityError, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from celery_ledger.models import Job
from celery_ledger.models.chord import Chord, ChordPart
from celery_ledger.operations import interventions
from celery_ledger.testing import attempt, work_off
from tests.celery_ledger import tasks

pytestmark = pytest.mark.django_db(transaction=True)
LATER = timedelta(days=1)
add, total, note, boom = tasks.add, tasks.total, tasks.note, tasks.note_then_fail


def states() -> dict[str, int]:
    found: dict[str, int] = {}
    for state in Job.objects.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


SHAPES = [
    (group(add.s(1, 1), add.s(2, 2), add.s(3, 3)), [2, 4, 6]),
    (chord([add.s(1, 1), add.s(2, 2), add.s(3, 3)], total.s()), 12),
    (chord(group(add.s(n, n) for n in range(30)), total.s()), 870),
    (chord([], total.s()), 0),
    (chord([add.s(1, 1)], total.s()), 2),
    (group(add.s(1, 1), add.s(2, 2)) | total.s() | add.s(10), 16),
    (add.s(1, 1) | group(add.s(10), add.s(20)) | total.s(), 34),
    (chord([add.s(1, 1) | add.s(5), add.s(2, 2) | add.s(5)], total.s()), 16),
    (chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(4, 4)], total.s()), 14),
    (chord([add.s(1, 1), add.s(2, 2)], total.s() | add.s(100)), 106),
    (
        chord(
            [add.s(1, 1), add.s(2, 2)], chord([tasks.add_all.s(1), tasks.add_all.s(2)], total.s())
        ),
        15,
    ),
    (chain(add.s(1, 1), chord([add.s(1), add.s(2)], total.s()), add.s(1)), 8),
    (add.starmap([(1, 1), (2, 2)]), [2, 4]),
    (add.chunks([(n, n) for n in range(4)], 2).group() | tasks.flat.s() | total.s(), 12),
]


@pytest.mark.parametrize(
    ("shape", "expected"), SHAPES, ids=[str(shape)[:60] for shape, _ in SHAPES]
)
def test_a_shape_comes_to_its_result(shape: Any, expected: object) -> None:
    result = shape.apply_async()
    work_off(ahead=LATER)
    assert result.get(timeout=5) == expected
    assert set(states()) == {"done"}
    assert (Chord.objects.filter(fired=False).count(), ChordPart.objects.count()) == (0, 0)


def test_a_shape_in_a_transaction_that_rolls_back_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async()
        raise ZeroDivisionError
    assert (Job.objects.count(), Chord.objects.count()) == (0, 0)


def test_parts_may_be_done_in_any_order_and_the_results_keep_theirs() -> None:
    result = chord([add.s(n, 0) for n in range(5)], tasks.listed.s()).apply_async()
    for job in Job.objects.order_by("-created_at"):
        attempt(job)
    work_off()
    assert result.get(timeout=5) == [0, 1, 2, 3, 4]


def test_a_dead_part_kills_the_body_once_and_calls_its_errback() -> None:
    body = total.s().on_error(note.s())
    result = chord([add.s(1, 1), boom.s("a"), boom.s("b")], body).apply_async()
    work_off()
    with pytest.raises(ChordError, match="no such luck"):
        AsyncResult(result.id).get(timeout=5)
    assert Note.objects.get().name == result.id
    assert Job.objects.get(pk=result.id).state == "dead"


@pytest.mark.parametrize("last", [boom.s("a"), add.s(2, 2)], ids=["dead part", "done part"])
def test_a_link_error_of_a_call_is_called_once_though_the_body_is_a_chord(last: Any) -> None:
    body = chord([tasks.add_all.s(1), boom.si("b")], total.s())
    errback = tasks.note.si("told")
    chord([add.s(1, 1), last], body).apply_async(link_error=errback)
    work_off()
    assert [row.name for row in Note.objects.all()] == ["told"]


def test_a_body_whose_arguments_no_row_can_hold_is_dead_and_its_parts_are_done(
    settings: Any,
) -> None:
    settings.LEDGER = {**settings.LEDGER, "GATHERED_MAX_BYTES": 16_000}
    parts = [tasks.speak.s(9_000), tasks.speak.s(9_000)]
    result = chord(parts, tasks.listed.s().on_error(note.s())).apply_async()
    work_off()
    with pytest.raises(ChordError, match="The body cannot be promised: "):
        AsyncResult(result.id).get(timeout=5)
    assert Note.objects.get().name == result.id
    assert states() == {"done": 3, "dead": 1}


@pytest.mark.parametrize("way", ["operator", "revoke"])
def test_a_part_that_is_cancelled_before_it_begins_leaves_no_chord_waiting_for_it(way: str) -> None:
    result = chord([add.s(1, 1), note.s("a")], total.s()).apply_async()
    part = Job.objects.get(task="tests.celery_ledger.tasks.note")
    if way == "operator":
        interventions.cancel(Job.objects.filter(pk=part.pk), by="hana")
    else:
        AsyncResult(str(part.pk)).revoke()
    work_off()
    with pytest.raises(
        ChordError, match="by hana" if way == "operator" else "revoked before it began"
    ):
        AsyncResult(result.id).get(timeout=5)
    assert states() == {"cancelled": 1, "done": 1, "dead": 1}


def test_what_follows_a_dead_step_of_a_chain_is_dead_too_and_nobody_waits_for_it() -> None:
    result = chain(boom.s("a"), add.s(1, 1), add.s(2)).apply_async()
    work_off()
    with pytest.raises(ValueError, match="no such luck"):
        result.get(timeout=5)
    assert states() == {"dead": 3}


def test_a_chord_after_a_dead_step_is_dead_too() -> None:
    result = chain(boom.s("a"), chord([add.si(1, 1), add.si(2, 2)], total.s())).apply_async()
    work_off()
    with pytest.raises(ValueError, match="no such luck"):
        result.get(timeout=5)


def test_a_part_that_loses_its_lease_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    result = chord([note.s("a"), add.s(1, 1)], tasks.listed.s()).apply_async()
    first = Job.objects.get(task="tests.celery_ledger.tasks.note")
    create = Note.objects.create

    def create_too_late(**named: Any) -> Note:
        steal(first)
        return create(**named)

    monkeypatch.setattr(Note.objects, "create", create_too_late)
    attempt(first)
    monkeypatch.undo()
    assert ChordPart.objects.count() == 0
    Job.objects.filter(pk=first.pk).update(state="waiting", lease_until=None)
    work_off()
    assert result.get(timeout=5) == ["a", 2]


def steal(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(token=job.pk)


def test_postgres_refuses_to_count_a_part_twice() -> None:
    chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async()
    attempt(Job.objects.order_by("created_at")[0])
    [part] = ChordPart.objects.all()
    with pytest.raises(IntegrityError, match="chord_part_once"):
        ChordPart.objects.create(chord=part.chord, job=part.job, index=0, result=1)


def test_results_of_a_group_are_read_together(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    result = group(add.s(n, n) for n in range(50)).apply_async()
    work_off()
    with django_assert_max_num_queries(3):
        assert result.join_native(timeout=5) == [2 * n for n in range(50)]


def test_a_result_knows_what_its_job_has_led_to(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    linked = add.apply_async((1, 1), link=[add.s(10), add.s(20)])
    assert linked.children == []
    chained = chain(add.s(1, 1), add.s(5), add.s(10)).apply_async()
    work_off()
    linked = AsyncResult(linked.id)
    assert [child.get(timeout=5) for child in linked.children] == [[12, 22]]
    assert [result.result for _, result in AsyncResult(chained.parent.parent.id).iterdeps()] == [
        2,
        7,
        17,
    ]
    assert [value for _, value in linked.collect()] == [2, [12, 22], 12, 22]
    with django_assert_max_num_queries(2):
        metas = dict(linked.backend.get_many([linked.id, chained.id]))
    assert (len(metas[linked.id]["children"]), metas[chained.id]["children"]) == (1, [])


def test_a_group_can_be_saved_and_restored_from_postgres() -> None:
    result = group(add.s(1, 1), add.s(2, 2)).apply_async()
    result.save()
    assert GroupResult.restore(str(uuid4())) is None
    work_off()
    restored = GroupResult.restore(result.id)
    assert (restored.id, restored.get(timeout=5)) == (result.id, [2, 4])
    restored.delete()
    assert GroupResult.restore(result.id) is None


def test_a_waiting_job_can_be_revoked_and_a_finished_one_cannot() -> None:
    waiting, done = add.apply_async((1, 1), countdown=60), add.delay(2, 2)
    work_off()
    waiting.revoke()
    done.revoke()
    work_off(ahead=LATER)
    assert (waiting.state, done.state) == ("REVOKED", "SUCCESS")
    with pytest.raises(TaskRevokedError):
        waiting.get(timeout=5)


def test_a_forgotten_result_is_gone_and_its_job_stays_done() -> None:
    result = add.delay(1, 1)
    work_off()
    result.forget()
    assert (Job.objects.get().state, Job.objects.get().result) == ("done", None)


@pytest.mark.parametrize(
    ("shape", "expected"), [("task", 42), ("chain", 42), ("group", [42, 2]), ("chord", 42)]
)
def test_a_task_may_replace_itself_with_any_shape_under_its_own_id(
    shape: str, expected: object
) -> None:
    result = tasks.become.delay(shape=shape)
    work_off()
    assert result.get(timeout=5) == expected
    assert set(states()) == {"done"}


def test_a_replacement_inherits_what_hung_on_the_task() -> None:
    in_a_chain = (add.s(1, 1) | tasks.become.s() | add.s(8)).apply_async()
    in_a_chord = chord([tasks.become.s(), add.s(1, 7)], total.s()).apply_async()
    linked = tasks.become.apply_async(link=note.si("linked"))
    outside = tasks.become_outside.delay()
    work_off()
    results = [result.get(timeout=5) for result in (in_a_chain, in_a_chord, linked, outside)]
    assert results == [50, 50, 42, 42]
    assert Note.objects.get().name == "linked"


def test_what_a_task_did_before_it_was_replaced_is_kept_once() -> None:
    result = tasks.count_down.delay(3)
    work_off()
    assert result.get(timeout=5) == 0
    assert sorted(Note.objects.values_list("name", flat=True)) == ["at 0", "at 1", "at 2", "at 3"]
    assert Job.objects.count() == 1


def test_a_ghost_cannot_replace_a_job_that_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks.count_down.delay(3)
    job = Job.objects.get()
    create = Note.objects.create

    def create_too_late(**named: Any) -> Note:
        steal(job)
        return create(**named)

    monkeypatch.setattr(Note.objects, "create", create_too_late)
    attempt(job)
    assert (Note.objects.count(), Job.objects.get().args, Job.objects.get().state) == (
        0,
        [[3], {}],
        "running",
    )


NESTED = {
    "a chord": chord([boom.s("a"), add.s(1, 1)], total.s()),
    "a chord with a chain for a body": chord([boom.s("a"), add.s(1, 1)], total.s() | add.s(1)),
    "a chord with a group for a body": chord(
        [boom.s("a"), add.s(1, 1)], group(total.s(), total.s())
    ),
    "a chain that ends in a chord": add.si(1, 1) | chord([boom.si("a"), add.si(1, 1)], total.s()),
}


@pytest.mark.parametrize("inner", NESTED.values(), ids=NESTED)
def test_a_chord_whose_part_is_a_failed_chord_fails_too(inner: Any) -> None:
    result = chord([inner, add.s(4, 4)], tasks.listed.s().on_error(note.s())).apply_async()
    work_off()
    assert AsyncResult(result.id).state == "FAILURE"
    assert Note.objects.get().name == result.id
    assert Chord.objects.filter(fired=False).count() == 0


def test_a_failed_chord_fails_the_chord_that_is_its_body() -> None:
    inner = chord([tasks.add_all.s(1), tasks.add_all.s(2)], total.s().on_error(note.s()))
    result = chord([boom.s("a"), add.s(1, 1)], inner).apply_async()
    work_off()
    assert AsyncResult(result.id).state == "FAILURE"
    assert Note.objects.get().name == result.id


@pytest.mark.parametrize("way", ["operator", "expired"])
def test_what_follows_a_cancelled_step_of_a_chain_is_dead_and_a_chord_is_told(way: str) -> None:
    past = timezone.now() - timedelta(seconds=1)
    steps = note.s("a").set(expires=past) if way == "expired" else note.s("a"), note.si("b")
    alone, part = (
        chain(*steps).apply_async(),
        chord([chain(*steps), add.s(1, 1)], total.s()).apply_async(),
    )
    if way == "operator":
        interventions.cancel(Job.objects.filter(task=note.name), by="hana")
    work_off()
    for result in (alone, part):
        assert AsyncResult(result.id).state == "FAILURE"
    assert (Chord.objects.filter(fired=False).count(), Note.objects.count()) == (0, 0)
    interventions.retry(Job.objects.filter(pk=alone.parent.id), by="hana")
    assert Job.objects.filter(pk=alone.id).count() == 0


@pytest.mark.parametrize("shape", ["task", "chain", "group", "chord"])
def test_what_replaces_a_job_has_that_jobs_parent_and_is_not_its_own_ancestor(shape: str) -> None:
    result = add.apply_async((1, 1), link=tasks.become.si(shape=shape))
    work_off()
    found = [one for _, one in islice(AsyncResult(result.id).iterdeps(), 10)]
    jobs = [one for one in found if isinstance(one, AsyncResult)]
    assert len(jobs) == len(set(jobs)) == Job.objects.count()


def test_an_outside_task_may_replace_itself_at_the_end_of_its_settlement(
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = tasks.settle_and_become.delay("a")
    with caplog.at_level("INFO", logger="celery_ledger.attempts"):
        work_off()
    assert [record.fields["outcome"] for record in caplog.records if hasattr(record, "fields")] == [
        "replaced",
        "done",
    ]
    assert (result.get(timeout=5), Note.objects.get().name, states()) == (42, "a", {"done": 1})


THE_REST = {
    "a chord": chord([add.si(1, 1), add.si(2, 2)], total.s()),
    "a group and two steps": group(add.si(1, 1), add.si(2, 2)) | total.s() | add.s(1),
    "a chord whose body is a chain": chord([add.si(1, 1), add.si(2, 2)], total.s() | add.s(1)),
    "a chord whose body is a chord": chord(
        [add.si(1, 1)] * 2, chord([add.si(1, 1)] * 2, total.s())
    ),
    "a group": group(add.si(1, 1), add.si(2, 2)),
}


@pytest.mark.parametrize("rest", THE_REST.values(), ids=THE_REST)
def test_a_revived_step_is_followed_by_what_died_with_it(
    rest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(note.s("a"), rest).apply_async()
    first = Job.objects.get()
    with monkeypatch.context() as broken:
        broken.setattr(note, "run", boom.run)
        attempt(first)
    assert set(states()) == {"dead"}
    interventions.retry(Job.objects.filter(pk=first.pk), by="hana")
    work_off()
    assert set(states()) == {"done"}
