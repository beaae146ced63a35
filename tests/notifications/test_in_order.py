"""Deliveries about one order reach an ordered endpoint one after another, whatever becomes of each,
and those of another wait for none of it.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from celery_ledger.models import Job, JobQuerySet
from celery_ledger.operations import interventions
from celery_ledger.testing import attempt, work_off
from notifications import events
from notifications.interventions import replay
from notifications.models import Answer, Delivery, Endpoint
from notifications.tasks import put_line_in_order
from orders.models import Client
from tests.doubles.edges import WebhookSink
from tests.postgres.hands import Hand
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)
SOON = timedelta(seconds=1)  # a second try at once; sooner than any look of one that is held back
A, B = UUID(int=0xA), UUID(int=0xB)
Happen = Callable[..., None]
GOOD = Answer("answered 200")


@pytest.fixture
def endpoint(shop: Client, sink: WebhookSink) -> Endpoint:
    return Endpoint.objects.create(
        owner=shop.pk, url=sink.url, events=["*"], quick=True, ordered=True
    )


@pytest.fixture
def happen(shop: Client) -> Happen:
    """Events of these subjects, each the next of its own."""
    seqs: dict[UUID, int] = {}

    def record(*subjects: UUID) -> None:
        for subject in subjects:
            seqs[subject] = seqs.get(subject, 0) + 1
            order = {"subject": str(subject), "version": seqs[subject]}
            with transaction.atomic():
                events.record(
                    "order.held",
                    subject=subject,
                    seq=seqs[subject],
                    owner=shop.pk,
                    data={"of": order},
                )

    return record


@pytest.fixture
def other() -> Iterator[Hand]:
    with Hand() as hand:
        yield hand


def heard(sink: WebhookSink) -> list[tuple[UUID, int]]:
    """What each call was about, one that was refused too."""
    of = [json.loads(body)["data"]["of"] for _, body in sink.heard]
    return [(UUID(one["subject"]), one["version"]) for one in of]


def delivery(subject: UUID, seq: int) -> Delivery:
    rows = Delivery.objects.select_related("endpoint", "event")
    return rows.get(event__subject=subject, event__seq=seq, channel="webhook")


def jobs_of(one: Delivery) -> JobQuerySet:
    """The one that brings it now."""
    return Job.objects.filter(pk__in=Delivery.objects.filter(pk=one.pk).values("job"))


def job_of(one: Delivery) -> Job:
    return jobs_of(one).get()


def claimed(subject: UUID, seq: int) -> None:
    """A worker takes its job before those that are due earlier."""
    job = job_of(delivery(subject, seq))
    Job.objects.filter(pk=job.pk).update(due_at=timezone.now())
    attempt(job)


def end(one: Delivery) -> None:
    one.succeed(GOOD, after_s=0.01)


# --- one after another ----------------------------------------------------------------------------


def test_whoever_is_claimed_too_early_comes_at_once_when_the_one_before_has_ended(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    happen(A, A, A, B)
    for place in ((A, 3), (A, 2), (B, 1)):
        claimed(*place)
    assert heard(sink) == [(B, 1)], "another order waits for none of them"
    held = job_of(delivery(A, 3))
    soon = timezone.now() + timedelta(seconds=2 * settings.DELIVERY_HELD_BACK_S)
    assert (held.state, held.due_at <= soon) == ("waiting", True)
    claimed(A, 1)
    assert job_of(delivery(A, 2)).due_at <= timezone.now(), "in the transaction of the first one"
    assert job_of(delivery(A, 3)).due_at > timezone.now()
    work_off()
    assert heard(sink)[1:] == [(A, 1), (A, 2), (A, 3)]
    assert set(Delivery.objects.values_list("state", "tries")) == {("delivered", 1)}


def test_a_receiver_that_fails_the_first_a_few_times_hears_the_others_after_it(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    sink.answers = [500, 500, 200]
    happen(A, A, B)
    work_off(ahead=SOON)
    work_off(ahead=timedelta(seconds=2 * settings.DELIVERY_BACKOFF_S))
    assert [seq for subject, seq in heard(sink) if subject == A] == [1, 1, 2], heard(sink)
    assert heard(sink).index((B, 1)) < len(heard(sink)) - 2, "the other order did not wait"
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


def test_one_that_is_held_back_is_looked_at_soon_after_the_one_before_it_is_due(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    """Nobody looks at it all day long."""
    happen(A, A)
    for minutes, longest_s in ((10, 660.0), (1000, settings.DELIVERY_HELD_BACK_MAX_S)):
        later = timezone.now() + timedelta(minutes=minutes)
        jobs_of(delivery(A, 1)).update(due_at=later)
        claimed(A, 2)
        due_in_s = (job_of(delivery(A, 2)).due_at - timezone.now()).total_seconds()
        assert longest_s - 30 < due_in_s <= longest_s
    output = StringIO()
    call_command("deliveries", "why", str(delivery(A, 2).pk), stdout=output)
    assert f"It comes after {delivery(A, 1).pk}: " in output.getvalue()
    assert sink.heard == []


@pytest.mark.parametrize("how", ["given up", "cancelled", "too old"])
def test_one_that_was_given_up_blocks_nobody(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any, how: str
) -> None:
    settings.DELIVERY_MAX_TRIES = 1
    happen(A, A)
    claimed(A, 2)
    first = delivery(A, 1)
    match how:
        case "given up":
            sink.answers = [500]
        case "cancelled":
            interventions.cancel(jobs_of(first), by="hana")
        case "too old":
            too_old = {"created_at": timezone.now() - 3 * DAY, "tries": 1}
            Delivery.objects.filter(pk=first.pk).update(**too_old)
    work_off()
    assert heard(sink)[-1] == (A, 2)
    assert [delivery(A, seq).state for seq in (1, 2)] == ["failed", "delivered"]


def test_one_that_is_given_up_behind_another_hurries_nobody(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen
) -> None:
    happen(A, A, A)
    later = timezone.now() + DAY
    jobs_of(delivery(A, 1)).update(due_at=later)
    for seq in (2, 3):
        claimed(A, seq)
    interventions.cancel(jobs_of(delivery(A, 2)), by="hana")
    work_off()
    assert delivery(A, 2).state == "failed"
    assert (sink.heard, job_of(delivery(A, 1)).due_at) == ([], later)
    assert job_of(delivery(A, 3)).due_at > timezone.now()


def test_whoever_is_held_back_ends_with_its_endpoint(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen
) -> None:
    sink.answers = [410]
    happen(A, A, A)
    claimed(A, 2)
    work_off()
    assert heard(sink) == [(A, 1)]
    assert set(Delivery.objects.values_list("state", flat=True)) == {"failed"}
    assert not Job.objects.filter(state="waiting").exists()


def test_the_order_holds_while_its_circuit_opens_and_when_the_line_is_called_up(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    settings.ENDPOINT_REST_S = 600.0
    sink.answers = [500] * settings.ENDPOINT_FAILURES_MAX
    happen(*[A, B] * 5)
    work_off(ahead=timedelta(seconds=2 * settings.DELIVERY_BACKOFF_S))
    assert Endpoint.objects.get().is_open
    happen(A, B)  # these take a place in line by a job
    Endpoint.objects.update(resting_until=timezone.now())
    work_off(ahead=DAY)
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
    for subject in (A, B):
        tried = [seq for one, seq in heard(sink) if one == subject]
        assert tried == sorted(tried)
        assert set(tried) == {1, 2, 3, 4, 5, 6}


def test_an_endpoint_that_wants_an_order_from_now_on_gets_what_waits_in_it_too(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, api: Api, settings: Any
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL, settings.BATCH_ROWS = True, 2
    Endpoint.objects.update(ordered=False)
    happen(A, B, A, A)
    path, fields = f"/v1/webhook-endpoints/{endpoint.pk}", {"ordered": True}
    for _ in range(2):
        api.patch(path, fields, content_type="application/json")
    ordering = Job.objects.filter(task="notifications.tasks.put_line_in_order", state="waiting")
    assert ordering.count() == 1
    while job := ordering.first():
        attempt(job)
    claimed(A, 3)
    claimed(A, 2)
    assert sink.heard == []
    work_off()
    assert [seq for subject, seq in heard(sink) if subject == A] == [1, 2, 3]


def test_an_endpoint_that_wants_no_order_any_more_gets_at_once_what_was_held_back(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, api: Api, settings: Any
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = True
    happen(A, A)
    claimed(A, 2)
    path = f"/v1/webhook-endpoints/{endpoint.pk}"
    fields = {"ordered": False, "payload": "thin"}
    assert api.patch(path, fields, content_type="application/json").json().items() >= fields.items()
    Endpoint.objects.update(payload="full")
    jobs_of(delivery(A, 1)).delete()  # it brings nobody
    work_off()
    assert heard(sink) == [(A, 2)]


# --- two at the same moment -----------------------------------------------------------------------


def test_one_that_is_held_back_just_when_the_one_before_ends_is_not_forgotten(
    endpoint: Endpoint, happen: Happen, other: Hand
) -> None:
    """The end is written, and not committed: who is held back waits for it and goes on."""
    happen(A, A)
    first, second = delivery(A, 1), delivery(A, 2)
    other.open_transaction()
    other.do(lambda: end(first))
    with Hand() as hand:
        hand.open_transaction()
        assert hand.do(lambda: Delivery.objects.ahead_of(second)) == first
        held = hand.begin(lambda: Delivery.objects.hold_back(second))
        hand.wait_until_blocked()
        other.commit()
        assert held.result(timeout=10) == 0.0
        hand.commit()


def test_one_that_ends_just_when_the_next_is_held_back_brings_it(
    endpoint: Endpoint, happen: Happen, other: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    happen(A, A)
    first, second = delivery(A, 1), delivery(A, 2)
    brought: list[Any] = []
    monkeypatch.setattr(Job.objects, "run_now", brought.append)
    other.open_transaction()
    assert other.do(lambda: Delivery.objects.hold_back(second)) > 0
    with Hand() as hand:
        hand.open_transaction()
        ended = hand.begin(lambda: end(first))
        hand.wait_until_blocked()
        other.commit()
        ended.result(timeout=10)
        hand.commit()
    assert brought == [[second.job]], "the job that was promised meanwhile"


def test_a_doubled_bell_of_the_job_before_does_nothing(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen
) -> None:
    happen(A, A)
    old = job_of(delivery(A, 2))
    for _ in range(3):
        attempt(old)
    jobs = Job.objects.filter(task="notifications.tasks.post_webhook")
    assert (sink.heard, jobs.filter(state="waiting").count()) == ([], 2)
    with transaction.atomic():
        stale = delivery(A, 2)
        stale.job = old.pk
        assert Delivery.objects.hold_back(stale) is None, "whoever was rescued meanwhile"


# --- sent again -----------------------------------------------------------------------------------


def test_a_range_is_sent_again_in_order_and_what_happens_meanwhile_after_it(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    """Also when the ids are not in the order of events, as of machines whose clocks differ; and of
    deliveries that were made before the endpoint wanted an order.
    """
    settings.BATCH_ROWS = 2
    Endpoint.objects.update(ordered=False)
    happen(*[A, B] * 3)
    work_off()
    swap_ids(delivery(A, 1), delivery(A, 3))
    sink.heard.clear()
    Endpoint.objects.update(ordered=True)
    with transaction.atomic():
        assert replay(endpoint.pk, since=timezone.now() - DAY, everything=True) == (6, False)
    happen(A)
    claimed(A, 4)
    assert sink.heard == [], "it waits for those that are asked for"
    sink.answers = [200, 500]
    work_off(ahead=SOON)
    of = {subject: [seq for one, seq in heard(sink) if one == subject] for subject in (A, B)}
    assert {subject: list(dict.fromkeys(seqs)) for subject, seqs in of.items()} == {
        A: [1, 2, 3, 4],
        B: [1, 2, 3],
    }
    assert {subject: sorted(seqs) for subject, seqs in of.items()} == of
    assert len(sink.heard) == 8
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


def swap_ids(one: Delivery, another: Delivery) -> None:
    """As if each had the other's event."""
    change = Delivery.objects.filter
    change(pk=one.pk).update(target="nobody's")
    change(pk=another.pk).update(event=one.event)
    change(pk=one.pk).update(event=another.event, target=one.target)


# --- what it costs --------------------------------------------------------------------------------


def test_an_endpoint_without_order_pays_for_none_of_it(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen
) -> None:
    """Neither a statement nor a place in the index."""
    Endpoint.objects.update(ordered=False)
    happen(A, A)
    with CaptureQueriesContext(connection) as captured:
        claimed(A, 2)
        claimed(A, 1)
    statements = "\n".join(query["sql"] for query in captured)
    ordered = r'pg_advisory|"notifications_delivery"."subject" = |"seq" [<A]'
    assert not re.search(ordered, statements)
    assert [seq for _, seq in heard(sink)] == [2, 1]
    assert not Delivery.objects.exclude(subject=None).exists()


# --- attacked -------------------------------------------------------------------------------------


def test_one_that_ends_just_when_it_is_held_back_waits_for_nobody_for_ever(
    endpoint: Endpoint, happen: Happen, other: Hand
) -> None:
    """Both lock its row first, and then its subject."""
    happen(A, A)
    second = delivery(A, 2)
    other.open_transaction()
    other.do(lambda: Delivery.objects.filter(pk=second.pk).update(state="failed"))
    with Hand() as hand:
        hand.open_transaction()
        held = hand.begin(lambda: Delivery.objects.hold_back(second))
        hand.wait_until_blocked()
        other.do(lambda: Delivery.objects.bring_next(second))
        other.commit()
        assert held.result(timeout=10) is None
        hand.commit()


def test_whoever_came_first_for_two_days_leaves_each_other_one_a_try(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    """The first two were refused for a day each; the third could not be tried meanwhile."""
    happen(A, A, A)
    Delivery.objects.update(created_at=timezone.now() - settings.DELIVERY_MAX_AGE)
    Delivery.objects.filter(event__seq=1).update(tries=1)
    claimed(A, 3)
    assert (delivery(A, 3).state, sink.heard) == ("waiting", [])
    assert job_of(delivery(A, 3)).due_at > timezone.now() + SOON, "it does not look all the time"
    sink.answers = [500]
    work_off()
    assert heard(sink) == [(A, 2), (A, 3)]
    assert [delivery(A, seq).state for seq in (1, 2, 3)] == ["failed", "failed", "delivered"]


def test_one_whose_endpoint_is_not_well_is_given_up_when_its_time_is_over(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    Endpoint.objects.update(quick=False, failures=settings.ENDPOINT_FAILURES_MAX)
    happen(A)
    Delivery.objects.update(created_at=timezone.now() - settings.DELIVERY_MAX_AGE)
    work_off()
    assert (sink.heard, delivery(A, 1).state) == ([], "failed")


@pytest.mark.parametrize("is_pruned", [False, True])
def test_one_that_nobody_brings_any_more_blocks_nobody(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any, is_pruned: bool
) -> None:
    """As when staff cancel its job, and then the job that would have given it up."""
    happen(A, A)
    interventions.cancel(jobs_of(delivery(A, 1)), by="hana")
    interventions.cancel(Job.objects.filter(task="notifications.tasks.give_up"), by="hana")
    if is_pruned:
        jobs_of(delivery(A, 1)).delete()
        Delivery.objects.filter(event__seq=1).update(created_at=timezone.now() - 5 * DAY)
    work_off()
    assert heard(sink) == [(A, 2)]


def test_of_very_many_that_wait_few_are_looked_at_in_a_minute(
    endpoint: Endpoint, happen: Happen, settings: Any
) -> None:
    """Whatever the order in which they come: else the looks leave no room for the calls."""
    happen(*[A] * 10)
    for seq in range(10, 1, -1):
        claimed(A, seq)
    due_in_s = (job_of(delivery(A, 10)).due_at - timezone.now()).total_seconds()
    assert due_in_s > 8 * settings.DELIVERY_HELD_BACK_S


def test_an_endpoint_changed_twice_at_the_same_moment_is_put_in_order(
    endpoint: Endpoint, happen: Happen, api: Api, other: Hand, settings: Any
) -> None:
    settings.WEBHOOK_ALLOW_LOCAL = True
    path, fields = f"/v1/webhook-endpoints/{endpoint.pk}", {"ordered": True}
    other.open_transaction()
    other.do(lambda: Endpoint.objects.update(ordered=False))  # as the other request does
    with Hand() as hand:
        change = partial(api.patch, path, fields, content_type="application/json")
        changed = hand.begin(change)
        hand.wait_until_blocked()
        other.commit()
        assert changed.result(timeout=10).json()["ordered"] is True
    assert Job.objects.filter(task="notifications.tasks.put_line_in_order").exists()


def test_what_was_asked_for_again_before_its_endpoint_wanted_an_order_comes_in_it(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen
) -> None:
    Endpoint.objects.update(ordered=False)
    happen(A, A)
    work_off()
    sink.heard.clear()
    with transaction.atomic():
        replay(endpoint.pk, since=timezone.now() - DAY, everything=True)
    Endpoint.objects.update(ordered=True)
    put_line_in_order.delay(str(endpoint.pk))
    for task in ("put_line_in_order", "resend"):
        attempt(Job.objects.get(task=f"notifications.tasks.{task}"))
    claimed(A, 2)
    assert sink.heard == []
    work_off()
    assert heard(sink) == [(A, 1), (A, 2)]
