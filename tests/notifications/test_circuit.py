"""A single failure delays its delivery; a run of them opens the circuit of its endpoint."""

from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings as limits
from django.db import connection, transaction
from django.utils import timezone

from celery_ledger.models import Job
from celery_ledger.testing import work_off
from notifications import events
from notifications.models import Attempt, Delivery, Endpoint
from orders.models import Client
from tests.doubles.edges import WebhookSink
from tests.shop import Api

pytestmark = pytest.mark.django_db(transaction=True)
MINUTE = timedelta(seconds=60)
Happen = Callable[[int], None]


@pytest.fixture
def endpoint(shop: Client, sink: WebhookSink, settings: Any) -> Endpoint:
    """It has answered before."""
    settings.WEBHOOK_ALLOW_LOCAL = True
    return Endpoint.objects.create(owner=shop.pk, url=sink.url, events=["*"], quick=True)


@pytest.fixture
def happen(shop: Client) -> Happen:
    def record(times: int) -> None:
        for _ in range(times):
            with transaction.atomic():
                events.record("order.held", subject=uuid4(), seq=1, owner=shop.pk, data={})

    return record


def states() -> dict[str, int]:
    kept = Delivery.objects.values_list("state", flat=True)
    return {state: list(kept).count(state) for state in sorted(set(kept))}


def written(pk: UUID) -> Any:
    """What changes with every write of the endpoint's row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT xmin, ctid FROM notifications_endpoint WHERE id = %s", [pk])
        return cursor.fetchone()


def test_one_that_fails_a_fifth_of_first_tries_gets_all_within_the_pause_of_a_second_one(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    """Once it got 1 of 40 in 45 s."""
    settings.DELIVERY_SECOND_TRY_S = 60.0
    sink.answers = [500, 200, 200, 200, 200] * 8
    happen(40)
    work_off()
    assert states() == {"delivered": 32, "waiting": 8}, "nobody else waits"
    work_off(ahead=MINUTE)
    assert states() == {"delivered": 40}
    assert len(sink.heard) == 48


def test_a_new_endpoint_whose_first_answer_fails_is_not_at_rest(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen
) -> None:
    Endpoint.objects.update(quick=False)
    sink.answers = [500]
    happen(3)
    work_off(ahead=timedelta(seconds=3))
    assert states() == {"delivered": 3}


def test_what_arrives_writes_nothing_for_its_endpoint(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen
) -> None:
    before = written(endpoint.pk)
    happen(3)
    work_off()
    assert (states(), written(endpoint.pk)) == ({"delivered": 3}, before)
    sink.answers = [500]
    happen(2)
    work_off()
    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.failing_since, endpoint.quick) == (0, None, True)


def test_a_run_of_failures_opens_the_circuit_and_an_answer_closes_it(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    settings.DELIVERY_SECOND_TRY_S = settings.ENDPOINT_REST_S = 60.0
    sink.answers = [500] * limits.ENDPOINT_FAILURES_MAX
    happen(20)
    work_off()
    endpoint.refresh_from_db()
    assert (endpoint.is_open, endpoint.quick) == (True, False)
    assert len(sink.heard) == limits.ENDPOINT_FAILURES_MAX, "the others stand in line"
    Endpoint.objects.update(resting_until=timezone.now())
    work_off(ahead=MINUTE)  # a probe, and whom it calls up
    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.quick, endpoint.line_until) == (0, True, None)
    assert states() == {"delivered": 20}


def test_a_failure_that_hangs_opens_it_at_once(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, settings: Any
) -> None:
    settings.WEBHOOK_QUICK_S, sink.answers_after_s, sink.answers = 0.05, 0.1, [500]
    happen(3)
    work_off()
    assert (len(sink.heard), Endpoint.objects.get().is_open) == (1, True)


def test_calls_that_were_under_way_when_it_opened_do_not_lengthen_its_rest(
    endpoint: Endpoint,
) -> None:
    for _ in range(20):
        Endpoint.objects.stumbled(endpoint, answer="", after_s=0.0, pause_s=0.0)
    as_it_is = Endpoint.objects.get()
    assert as_it_is.failures == limits.ENDPOINT_FAILURES_MAX
    assert as_it_is.resting_until is not None
    assert as_it_is.resting_until <= timezone.now() + timedelta(seconds=limits.ENDPOINT_REST_S)
    assert Endpoint.objects.answered(as_it_is.pk, after_s=0.0), "one of them that arrives closes it"


# --- what an endpoint says of itself --------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "asked", "pause_s"),
    [
        (429, "120", 120),
        (503, "120", 120),
        (500, "120", 0),
        (429, "soon", 0),
        (429, "9" * 400, limits.RETRY_AFTER_MAX_S),
        (503, "9" * 5000, 0),
        (503, "-5", 0),
        (503, timedelta(hours=-1), 0),
        (503, timedelta(days=2), limits.RETRY_AFTER_MAX_S),
    ],
    ids=lambda value: str(value)[:9],
)
def test_the_pause_that_a_busy_one_asks_for_is_made_within_a_limit(
    endpoint: Endpoint,
    sink: WebhookSink,
    happen: Happen,
    status: int,
    asked: str | timedelta,
    pause_s: float,
) -> None:
    """In seconds or as a date."""
    began = timezone.now()
    text = asked if isinstance(asked, str) else format_datetime(began + asked)
    sink.answers, sink.headers = [status], {"Retry-After": text}
    happen(1)
    work_off()
    due_at = Job.objects.get(task="notifications.tasks.post_webhook").due_at
    after_s = (due_at - began).total_seconds() - pause_s
    assert -1 < after_s < (timezone.now() - began).total_seconds() + 10
    assert Endpoint.objects.get().is_open == bool(pause_s)


def test_one_that_is_gone_is_not_called_again_until_its_owner_says_so(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, api: Api
) -> None:
    sink.answers = [410] * 9
    happen(3)
    work_off(ahead=timedelta(seconds=1))
    happen(1)
    assert (states(), len(sink.heard)) == ({"failed": 3}, 1)
    path = f"/v1/webhook-endpoints/{endpoint.pk}"
    read = api.get(path).json()
    assert (read["active"], read["disabled_because"]) == (False, "gone")
    assert read["disabled_at"]
    sink.answers = []
    again = api.patch(path, {"active": True}, content_type="application/json").json()
    assert (again["active"], again["disabled_because"], again["disabled_at"]) == (True, None, None)
    happen(1)
    work_off()
    assert states() == {"delivered": 1, "failed": 3}


def test_a_new_url_hears_again_and_active_false_does_not(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, api: Api
) -> None:
    path = f"/v1/webhook-endpoints/{endpoint.pk}"

    def change(**fields: Any) -> dict[str, Any]:
        answer = api.patch(path, fields, content_type="application/json")
        assert answer.status_code == 200
        return dict(answer.json())

    assert change(active=False)["disabled_because"] == "asked"
    happen(1)
    assert change(url=f"{sink.url}&moved=1")["active"]
    happen(1)
    work_off()
    assert states() == {"delivered": 1}


@pytest.mark.parametrize(("days", "because"), [(4.9, ""), (5.1, "failing")])
def test_one_that_does_nothing_but_fail_for_five_days_is_disabled(
    endpoint: Endpoint, sink: WebhookSink, happen: Happen, days: float, because: str
) -> None:
    Endpoint.objects.update(failures=2, failing_since=timezone.now() - timedelta(days=days))
    sink.answers = [500]
    happen(1)
    work_off()
    assert Endpoint.objects.get().disabled_because == because
    assert Attempt.objects.count() == 1
