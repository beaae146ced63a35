"""Jobs as staff see them: found by a filter, page by page, and acted on, one or all."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client as HttpClient
from django.utils import timezone

from celery_ledger import Job, Pause
from celery_ledger.testing import attempt, work_off
from ops import tasks
from ops.jobs.choosing import Chosen, Place, newest
from ops.models import JobBatch, StaffAction
from orders.models import Client, Order
from tests.celery_ledger import past
from tests.ops.browsing import log_in, text
from tests.postgres.plans import plans_of
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
RESERVE, CHARGE = "orders.tasks.reserve", "orders.tasks.charge"
PAGE_BUFFERS_MAX = 1000


def jobs(number: int, *, task: str = RESERVE, state: str = "dead", **columns: Any) -> list[UUID]:
    """The oldest first, a second apart."""
    ended = None if state == "waiting" else timezone.now()
    error = {"type": "ValueError", "message": "boom"} if state == "dead" else None
    columns = {
        "queue": "kaiten",
        "args": [["no order"], {}],
        "envelope": json.loads(past.ENVELOPE),
        **columns,
    }
    begin = timezone.now() - timedelta(hours=1)
    rows = [
        Job(
            id=uuid4(),
            task=task,
            state=state,
            error=error,
            finished_at=ended,
            created_at=begin + timedelta(seconds=n),
            **{"due_at": begin, "ring_at": begin + timedelta(seconds=n), **columns},
        )
        for n in range(number)
    ]
    return [job.pk for job in Job.objects.bulk_create(rows)]


def times_retried(id_: UUID) -> int:
    return sum(end["end"] == "retried" for end in Job.objects.get(pk=id_).history)


def asked(**fields: str) -> dict[str, str]:
    return {"state": "dead", "batch": str(uuid4()), **fields}


# --- the list -------------------------------------------------------------------------------------


def test_without_a_filter_the_dead_are_shown_and_an_empty_list_teaches(hana: HttpClient) -> None:
    assert "dead ones until a person has seen to them" in text(hana, "/ops/jobs/")
    [dead] = jobs(1)
    [done] = jobs(1, state="done")
    page = text(hana, "/ops/jobs/")
    assert f"/ops/jobs/{dead}/" in page
    assert "ValueError: boom" in page
    assert f"/ops/jobs/{done}/" not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"state": "dead"}, {"charge", "reserve"}),
        ({"task": CHARGE}, {"charge", "waiting"}),
        ({"queue": "bulk"}, {"waiting"}),
        ({"owner": "tests"}, {"reserve"}),
        ({"state": "waiting"}, {"waiting"}),
        ({"about": "the-argument"}, {"charge"}),
        ({"since": "30m"}, set()),
    ],
)
def test_each_part_of_a_filter_narrows(
    shop: Client, hana: HttpClient, query: dict[str, str], found: set[str]
) -> None:
    Client.objects.filter(pk=shop.pk).update(name="tests")
    made = {
        "charge": jobs(1, task=CHARGE, args=[["the-argument"], {}])[0],
        "reserve": jobs(1, owner=str(shop.pk))[0],
        "waiting": jobs(1, task=CHARGE, state="waiting", queue="bulk")[0],
    }
    response = hana.get("/ops/jobs/", {"state": "", **query})
    page = response.content.decode()
    assert {name for name, id_ in made.items() if f"/ops/jobs/{id_}/" in page} == found


def test_an_order_s_jobs_are_found_by_its_number(placed: Order, hana: HttpClient) -> None:
    jobs(3)
    page = text(hana, f"/ops/jobs/?state=&about={placed.number}")
    assert "orders.tasks.reserve" in page
    assert "boom" not in page


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("task", "orders.tasks.reserv", "Is it one of these: orders.tasks.reserve"),
        ("owner", "nobody", "No client is called so."),
        ("since", "yesterday", "is no time."),
        ("queue", "kitchen", "Select a valid choice."),
        ("state", "half", "Select a valid choice."),
        ("about", "x" * 5000, "at most 200 characters"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_by_its_field(
    hana: HttpClient, name: str, value: str, sentence: str
) -> None:
    response = hana.get("/ops/jobs/", {"state": "dead", name: value})
    assert response.status_code == 422
    assert sentence in response.content.decode()


@pytest.mark.parametrize("state", ["dead", "done", "waiting", ""])
def test_page_by_page_each_job_is_shown_once(settings: Any, state: str) -> None:
    settings.OPS_JOBS_LOOKED_AT, settings.OPS_ROWS_MAX = 7, 3
    made = jobs(20, state=state or "done") + jobs(5, state=state or "dead", task=CHARGE)
    chosen, place, ids = Chosen(state=state), None, []
    for _ in range(30):
        found = newest(chosen, place)
        assert found.looked_at <= 7
        ids += [job.pk for job in found.jobs]
        if found.place is None:
            break
        place = Place.read(found.place.written())
    assert sorted(ids) == sorted(made)


def test_the_pages_cost_as_little_with_a_long_past(hana: HttpClient) -> None:
    past.finish(20_000)
    past.promise(5_000, due="-1 h", rings="100 s")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE celery_ledger_job")
    job = Job.objects.filter(state="dead").first()
    assert job
    nobody = "owner=0198f3a1-0000-7000-8000-000000999999"
    for query in ("state=", "state=dead", "state=waiting", "state=done&task=" + CHARGE, nobody):
        plans = plans_of(lambda query=query: hana.get(f"/ops/jobs/?{query}"))  # type: ignore[misc]
        assert sum(plan.buffers for plan in plans) < PAGE_BUFFERS_MAX, query
    plans = plans_of(lambda: hana.get(f"/ops/jobs/{job.pk}/"))
    assert sum(plan.buffers for plan in plans) < PAGE_BUFFERS_MAX


# --- one job --------------------------------------------------------------------------------------


def test_a_job_s_page_shows_its_life_its_story_and_what_it_was_given(hana: HttpClient) -> None:
    [id_] = jobs(1, args=[["<b>42</b>"], {"many": 3}])
    page = text(hana, f"/ops/jobs/{id_}/")
    assert page.count("<li") >= 4
    assert "&lt;b&gt;42" in page
    assert "It died" in page


@pytest.mark.parametrize(
    ("state", "verb", "then", "again"),
    [
        ("dead", "retry", "waiting", "is waiting already"),
        ("dead", "discard", "cancelled", "is cancelled already"),
        ("waiting", "cancel", "cancelled", "is cancelled already"),
        ("waiting", "run_now", "waiting", "is due already"),
    ],
)
def test_a_verb_is_done_once_and_leaves_its_row(
    hana: HttpClient, state: str, verb: str, then: str, again: str
) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    [id_] = jobs(1, state=state, due_at=tomorrow, ring_at=tomorrow)
    where = f"/ops/jobs/{id_}/{verb}/"
    assert "Done: " in hana.post(where, follow=True).content.decode()
    job = Job.objects.get(pk=id_)
    assert job.state == then
    assert job.due_at < tomorrow or then == "cancelled"
    assert again in hana.post(where, follow=True).content.decode()
    assert [(row.verb, row.who) for row in StaffAction.of(f"job {id_}")] == [
        (f"job_{verb}", "hana")
    ]
    assert hana.post(f"/ops/jobs/{id_}/explode/").status_code == 404


# --- all of them ----------------------------------------------------------------------------------


def test_all_of_a_filter_are_counted_then_retried_once_each(
    hana: HttpClient, settings: Any
) -> None:
    settings.OPS_BATCH_PORTION = 3
    meant, others = jobs(8), jobs(4, task=CHARGE)
    form = asked(task=RESERVE)
    page = text(hana, f"/ops/jobs/all/retry/?state=dead&task={RESERVE}")
    assert "Try again: 8 jobs" in page
    for _ in range(2):  # a double click
        response = hana.post("/ops/jobs/all/retry/", form)
        assert response["Location"] == f"/ops/batches/{form['batch']}/"
    assert JobBatch.objects.count() == StaffAction.objects.count() == 1
    assert "0 / 8" in text(hana, response["Location"])
    work_off()  # those that it retries die again, and are not met again
    batch = JobBatch.objects.get()
    assert (batch.done, batch.looked, batch.counted) == (8, 12, 8)
    assert [times_retried(id_) for id_ in meant] == [1] * 8
    assert [times_retried(id_) for id_ in others] == [0] * 4
    page = text(hana, response["Location"])
    assert "8 / 8" in page
    assert "hx-get" not in page  # it has ended


def test_a_portion_that_fails_is_as_if_it_had_not_been(
    hana: HttpClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OPS_BATCH_PORTION = 3
    meant = jobs(6)
    hana.post("/ops/jobs/all/retry/", asked())
    promise, failures = tasks.do_portion.delay, iter([RuntimeError("killed")])

    def killed_once(*args: Any) -> Any:  # after its jobs were retried
        for failure in failures:
            raise failure
        return promise(*args)

    monkeypatch.setattr(tasks.do_portion, "delay", killed_once)
    work_off()
    assert [times_retried(id_) for id_ in meant] == [0] * 6
    batch = JobBatch.objects.get()
    assert (batch.done, batch.looked) == (0, 0)
    hana.post(f"/ops/jobs/{batch.job}/retry/")
    work_off()
    assert [times_retried(id_) for id_ in meant] == [1] * 6
    assert JobBatch.objects.get().done == 6


def test_what_was_promised_later_is_left_alone(hana: HttpClient) -> None:
    [old] = jobs(1)
    hana.post("/ops/jobs/all/discard/", asked())
    [new] = jobs(1)
    Job.objects.filter(pk=new).update(created_at=timezone.now() + timedelta(seconds=1))
    work_off()
    assert Job.objects.get(pk=old).state == "cancelled"
    assert Job.objects.get(pk=new).state == "dead"


def test_waiting_jobs_of_all_queues_are_cancelled(hana: HttpClient, settings: Any) -> None:
    settings.OPS_BATCH_PORTION = 2
    tomorrow = timezone.now() + timedelta(days=1)
    columns: dict[str, Any] = {"state": "waiting", "due_at": tomorrow}
    meant = [
        id_
        for queue in ("kaiten", "bulk", "mails")
        for id_ in jobs(3, task=CHARGE, queue=queue, **columns)
    ]
    [other] = jobs(1, **columns)
    hana.post("/ops/jobs/all/cancel/", asked(state="waiting", task=CHARGE))
    work_off()
    assert set(Job.objects.filter(pk__in=meant).values_list("state", flat=True)) == {"cancelled"}
    assert Job.objects.get(pk=other).state == "waiting"


def test_a_batch_that_cancels_all_that_waits_does_not_cancel_itself(
    hana: HttpClient, settings: Any
) -> None:
    """What was promised later is left alone, its own next portion among it."""
    settings.OPS_BATCH_PORTION = 1
    tomorrow = timezone.now() + timedelta(days=1)
    old = jobs(3, state="waiting", due_at=tomorrow, ring_at=tomorrow)
    hana.post("/ops/jobs/all/cancel/", asked(state="waiting"))
    [new] = jobs(1, state="waiting", due_at=tomorrow, ring_at=tomorrow)
    Job.objects.filter(pk=new).update(created_at=timezone.now() + timedelta(seconds=1))
    work_off()
    assert set(Job.objects.filter(pk__in=old).values_list("state", flat=True)) == {"cancelled"}
    assert Job.objects.get(pk=new).state == "waiting"
    assert JobBatch.objects.get().ended_at is not None
    assert set(Job.objects.filter(task="ops.tasks.do_portion").values_list("state", flat=True)) == {
        "done"
    }


def test_what_is_run_now_and_waits_anew_is_not_hurried_twice(hana: HttpClient) -> None:
    tomorrow = timezone.now() + timedelta(days=1)
    begun, fresh = jobs(2, state="waiting", task=CHARGE, due_at=tomorrow, ring_at=tomorrow)
    hana.post("/ops/jobs/all/run_now/", asked(state="waiting", task=CHARGE))
    later = timezone.now() + timedelta(seconds=1)
    Job.objects.filter(pk=begun).update(started_at=later)  # by a press on its own page
    portion = Job.objects.get(task="ops.tasks.do_portion")
    attempt(portion)
    assert Job.objects.get(pk=begun).due_at == tomorrow
    assert Job.objects.get(pk=fresh).due_at < later
    assert (JobBatch.objects.get().done, JobBatch.objects.get().looked) == (1, 2)


def test_more_than_are_counted_are_done_and_said_to_be_more(
    hana: HttpClient, settings: Any
) -> None:
    settings.OPS_COUNTED_MAX, settings.OPS_BATCH_PORTION = 3, 2
    jobs(5)
    page = text(hana, "/ops/jobs/all/discard/?state=dead")
    assert "Put aside: 3 jobs or more" in " ".join(page.split())
    where = hana.post("/ops/jobs/all/discard/", asked())["Location"]
    work_off()
    assert "5 / 3+" in text(hana, where)
    assert "5 / 3+" in text(hana, "/ops/jobs/")
    assert not Job.objects.filter(state="dead").exists()


def test_a_batch_is_stopped_and_what_is_done_stays_done(hana: HttpClient, settings: Any) -> None:
    settings.OPS_BATCH_PORTION = 2
    meant = jobs(6)
    form = asked()
    where = hana.post("/ops/jobs/all/retry/", form)["Location"]
    assert "It is stopped." in hana.post(f"{where}stop/", follow=True).content.decode()
    assert "It had ended already." in hana.post(f"{where}stop/", follow=True).content.decode()
    work_off()
    assert [times_retried(id_) for id_ in meant] == [0] * 6
    assert "stopped by hana" in text(hana, where)


@pytest.mark.parametrize(
    "fields", [{"state": ""}, {"state": "done"}, {"state": "dead", "task": "no.such.task"}]
)
def test_a_batch_without_a_fitting_filter_begins_nothing(
    hana: HttpClient, fields: dict[str, str]
) -> None:
    jobs(2)
    hana.post("/ops/jobs/all/retry/", asked(**fields))
    assert not JobBatch.objects.exists()


def test_who_may_only_look_is_shown_no_verb_and_can_do_none(django_user_model: Any) -> None:
    looker = log_in(django_user_model, "looker", "look")
    [id_] = jobs(1)
    assert "/ops/jobs/all/" not in text(looker, "/ops/jobs/")
    assert "/retry/" not in text(looker, f"/ops/jobs/{id_}/")
    for where in (f"/ops/jobs/{id_}/retry/", "/ops/jobs/all/retry/"):
        assert looker.post(where, asked()).status_code == 403
    assert Job.objects.get().state == "dead"


def test_japanese_staff_read_japanese(hana: HttpClient) -> None:
    jobs(1)
    hana.cookies["django_language"] = "ja"
    where = hana.post("/ops/jobs/all/retry/", asked())["Location"]
    for path in ("/ops/jobs/", f"/ops/jobs/{Job.objects.first().pk}/", where, "/ops/queues/"):  # type: ignore[union-attr]
        page = text(hana, path)
        for english in (
            "Jobs",
            "Try again",
            "State",
            "Promised",
            "at work",
            "Stop it",
            "Queues",
            "each day",
        ):
            assert english not in page, (path, english)


# --- what is paused, and what comes by the clock --------------------------------------------------


def press(client: HttpClient, verb: str, **fields: str) -> str:
    return client.post(f"/ops/queues/{verb}/", fields, follow=True).content.decode()


def test_charges_are_paused_by_one_press_and_everybody_sees_by_whom(
    api: Api, stock: Any, order_body: Any, hana: HttpClient, ken: HttpClient
) -> None:
    stock()
    payments = {"kind": "queue", "name": "payments"}
    assert "Done: Pause." in press(hana, "pause", **payments, note="provider is down")
    assert "Somebody was faster" in press(ken, "pause", **payments)
    api.place(order_body())
    for job in Job.objects.order_by("created_at"):
        attempt(job)
    for job in Job.objects.filter(state="waiting"):
        attempt(job)
    order = Order.objects.get()
    assert order.state == "reserved"
    assert "payments is paused by hana since" in text(hana, f"/ops/orders/{order.pk}/")
    for path in ("/ops/", "/ops/queues/"):
        page = text(ken, path)
        assert "paused by hana since" in page
        assert "provider is down" in page
    assert "Done: Resume." in press(ken, "resume", **payments)
    work_off()
    order.refresh_from_db()
    assert order.payment_state == "paid"
    assert [(row.who, row.verb) for row in StaffAction.of("queue payments")] == [
        ("hana", "queue_pause"),
        ("ken", "queue_resume"),
    ]


def test_an_entry_of_the_schedule_runs_out_of_turn_and_says_when_in_words(hana: HttpClient) -> None:
    page = text(hana, "/ops/queues/")
    assert "each day at 04:30" in page
    assert "every 5 min" in page
    entry = {"kind": "schedule", "name": "forget-old-exports"}
    assert "Done: Run now." in press(hana, "run", **entry)
    assert Job.objects.get().task == "orders.exports.tasks.forget_old_exports"
    assert "Done: Pause." in press(hana, "pause", **entry)
    assert "paused by hana" in text(hana, "/ops/queues/")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "queue", "name": "kitchen"}, "Nothing is called so."),
        ({"kind": "task", "name": "orders.tasks.reserv"}, "Nothing is called so."),
        ({"kind": "planet", "name": "payments"}, "Select a valid choice."),
        ({"kind": "queue", "name": "payments", "note": "x" * 5000}, "at most 200 characters"),
    ],
)
def test_what_is_nothing_is_not_paused(
    hana: HttpClient, fields: dict[str, str], sentence: str
) -> None:
    assert sentence in press(hana, "pause", **fields)
    assert not Pause.objects.exists()
    assert hana.post("/ops/queues/explode/", fields).status_code == 404


def test_what_a_release_before_knew_can_still_be_resumed(hana: HttpClient) -> None:
    Pause.objects.create(kind="queue", name="kitchen", by="ken")
    assert "kitchen" in text(hana, "/ops/")
    assert "kitchen" in text(hana, "/ops/queues/")
    assert "Done: Resume." in press(hana, "resume", kind="queue", name="kitchen")
    assert not Pause.objects.exists()
